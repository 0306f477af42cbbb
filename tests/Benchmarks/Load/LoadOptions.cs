using System.Globalization;
using InferenceServer.Tensors;
using InferenceServer.TestKit.TinyModel;

namespace InferenceServer.Benchmarks.Load;

/// <summary>What the load benchmark runs.</summary>
internal sealed record LoadOptions
{
    public const string Usage =
        "[--shape tiny|110m] [--adapters N] [--rank R|mixed] [--concurrency N] [--tokens N] [--prompt N] [--rounds N] [--seed N] [--out FILE]";

    /// <summary>S-LoRA's mix of ranks (arXiv 2311.03285, setting S2), dealt in turn.</summary>
    private static readonly int[] s_mixedRanks = [64, 32, 16, 8];

    /// <summary>tiny (seconds, to try the benchmark itself) or 110m. Default 110m.</summary>
    public required string Shape { get; init; }

    public required int Adapters { get; init; }

    /// <summary>A number, or mixed.</summary>
    public required string Rank { get; init; }

    /// <summary>Requests that run at once; as one ends the round does not begin another.</summary>
    public required int Concurrency { get; init; }

    /// <summary>Tokens that each request generates.</summary>
    public required int OutputTokens { get; init; }

    /// <summary>Random tokens of each prompt.</summary>
    public required int PromptTokens { get; init; }

    public required int Rounds { get; init; }

    public required int Seed { get; init; }

    /// <summary>File that takes the report too; null for none.</summary>
    public string? Output { get; init; }

    /// <exception cref="ArgumentException">An option is wrong.</exception>
    public static LoadOptions Parse(string[] arguments)
    {
        string shape = CommandLine.Option(arguments, "--shape") ?? "110m";
        string rank = CommandLine.Option(arguments, "--rank") ?? "16";
        if (shape is not ("tiny" or "110m"))
        {
            throw new ArgumentException($"--shape '{shape}' is neither tiny nor 110m");
        }

        return new LoadOptions
        {
            Shape = shape,
            Adapters = CommandLine.Number(arguments, "--adapters", 16),
            Rank = rank == "mixed" ? rank : CommandLine.Number(arguments, "--rank", 16).ToString(CultureInfo.InvariantCulture),
            Concurrency = CommandLine.Number(arguments, "--concurrency", 16),
            OutputTokens = CommandLine.Number(arguments, "--tokens", 64, least: 2),
            PromptTokens = CommandLine.Number(arguments, "--prompt", 32),
            Rounds = CommandLine.Number(arguments, "--rounds", 5),
            Seed = CommandLine.Number(arguments, "--seed", 1, least: 0),
            Output = CommandLine.Option(arguments, "--out"),
        };
    }

    /// <summary>The model to write: Llama's layout, weights in bf16.</summary>
    public TinyLlama Model()
    {
        TinyLlama tiny = new() { Seed = Seed, WeightType = DType.BF16 };
        return Shape == "tiny" ? tiny : tiny with
        {
            VocabularySize = 32_000,
            HiddenSize = 768,
            IntermediateSize = 2048,
            Layers = 12,
            Heads = 12,
            KvHeads = 12,
            MaxPositions = 2048,
        };
    }

    /// <summary>The adapter with this number: all linear modules of all layers.</summary>
    public TinyLora Adapter(int index)
    {
        int rank = Rank == "mixed" ? s_mixedRanks[index % s_mixedRanks.Length] : int.Parse(Rank, CultureInfo.InvariantCulture);
        return new TinyLora
        {
            Seed = unchecked(Seed + 1 + index),
            Rank = rank,
            Alpha = rank,
            Targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
            WeightType = DType.BF16,
            Strength = 0.1f,
        };
    }
}
