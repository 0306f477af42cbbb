using System.Globalization;
using InferenceServer.Tensors;
using InferenceServer.TestKit.TinyModel;
using InferenceServer.TestKit.Workloads;

namespace InferenceServer.Benchmarks.Load;

/// <summary>What the load benchmark runs.</summary>
internal sealed record LoadOptions
{
    public const string Usage =
        "[--shape tiny|110m] [--adapters N,...] [--rank R|mixed,...] [--workloads base,identical,uniform,skewed,distinct] [--concurrency N] "
        + "[--requests N] [--tokens N] [--prompt N] [--rounds N] [--seed N] [--weights bf16|int8|nf4|f32] [--server \"OPTIONS\"] [--data FOLDER] "
        + "[--merged] [--cold] [--busy] [--out FILE]";

    /// <summary>S-LoRA's mix of ranks (arXiv 2311.03285, setting S2), dealt in turn.</summary>
    private static readonly int[] s_mixedRanks = [64, 32, 16, 8];

    /// <summary>tiny (seconds, to try the benchmark itself) or 110m. Default 110m.</summary>
    public required string Shape { get; init; }

    /// <summary>Numbers of adapters that requests spread over; as many as the largest are uploaded.</summary>
    public required IReadOnlyList<int> Adapters { get; init; }

    /// <summary>Each a number, or mixed; a server and a table for each.</summary>
    public required IReadOnlyList<string> Ranks { get; init; }

    public required IReadOnlyList<AdapterPopularity> Workloads { get; init; }

    /// <summary>Requests that run at once.</summary>
    public required int Concurrency { get; init; }

    /// <summary>Requests of a round; with more than run at once, another begins where one ends.</summary>
    public required int Requests { get; init; }

    /// <summary>Tokens that each request generates.</summary>
    public required int OutputTokens { get; init; }

    /// <summary>Random tokens of each prompt.</summary>
    public required int PromptTokens { get; init; }

    /// <summary>Rounds that count, of each row.</summary>
    public required int Rounds { get; init; }

    public required int Seed { get; init; }

    /// <summary>How the server keeps the base.</summary>
    public required string Weights { get; init; }

    /// <summary>Further options of the server.</summary>
    public required IReadOnlyList<string> Server { get; init; }

    /// <summary>Where models and adapters are kept for the next run; null for a folder that goes with this one.</summary>
    public string? Data { get; init; }

    /// <summary>Adds rows while an adapter is merged: all requests its own, and none.</summary>
    public required bool Merged { get; init; }

    /// <summary>Measures what an adapter that is only on disk adds to its request, and to the steps of others, in place of the rest.</summary>
    public required bool Cold { get; init; }

    /// <summary>Counts rounds in which other processes computed too.</summary>
    public required bool CountsBusyRounds { get; init; }

    /// <summary>File that takes the report too; null for none.</summary>
    public string? Output { get; init; }

    /// <exception cref="ArgumentException">An option is wrong.</exception>
    public static LoadOptions Parse(string[] arguments)
    {
        string shape = CommandLine.Option(arguments, "--shape") ?? "110m";
        if (shape is not ("tiny" or "110m"))
        {
            throw new ArgumentException($"--shape '{shape}' is neither tiny nor 110m");
        }

        int concurrency = CommandLine.Number(arguments, "--concurrency", 16);
        int requests = CommandLine.Number(arguments, "--requests", concurrency);
        if (requests < concurrency)
        {
            throw new ArgumentException($"--requests {requests} is below --concurrency {concurrency}");
        }

        string[] workloads = [.. Enum.GetNames<AdapterPopularity>().Select(name => name.ToLowerInvariant())];
        return new LoadOptions
        {
            Shape = shape,
            Adapters = [.. List(arguments, "--adapters", "16").Select(text => CommandLine.Number("--adapters", text, least: 1))],
            Ranks = [.. List(arguments, "--rank", "16").Select(text =>
                text == "mixed" ? text : CommandLine.Number("--rank", text, least: 1).ToString(CultureInfo.InvariantCulture))],
            Workloads = [.. CommandLine.Choices(arguments, "--workloads", string.Join(',', workloads), workloads)
                .Select(name => Enum.Parse<AdapterPopularity>(name, ignoreCase: true))],
            Concurrency = concurrency,
            Requests = requests,
            OutputTokens = CommandLine.Number(arguments, "--tokens", 64, least: 2),
            PromptTokens = CommandLine.Number(arguments, "--prompt", 32),
            Rounds = CommandLine.Number(arguments, "--rounds", 5),
            Seed = CommandLine.Number(arguments, "--seed", 1, least: 0),
            Weights = CommandLine.Option(arguments, "--weights") ?? "bf16",
            Server = (CommandLine.Option(arguments, "--server") ?? "").Split(' ', StringSplitOptions.RemoveEmptyEntries),
            Data = CommandLine.Option(arguments, "--data"),
            Merged = arguments.Contains("--merged"),
            Cold = arguments.Contains("--cold"),
            CountsBusyRounds = arguments.Contains("--busy"),
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
    public TinyLora Adapter(string ranks, int index)
    {
        int rank = ranks == "mixed" ? s_mixedRanks[index % s_mixedRanks.Length] : int.Parse(ranks, CultureInfo.InvariantCulture);
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

    private static string[] List(string[] arguments, string name, string byDefault) =>
        (CommandLine.Option(arguments, name) ?? byDefault).Split(',', StringSplitOptions.RemoveEmptyEntries);
}
