using System.Globalization;
using InferenceServer.TestKit.TinyModel;

namespace InferenceServer.Benchmarks.Training;

/// <summary>What both sides train: a model, a method and a batch.</summary>
/// <param name="Shape">5m or 110m.</param>
/// <param name="Method">lora, dora or full.</param>
/// <param name="Tokens">Tokens of a step, in sequences of <see cref="SequenceLength"/>.</param>
internal sealed record TrainingCase(string Shape, string Method, int Tokens)
{
    public const int SequenceLength = 128;

    public const int Rank = 16;

    public string Name => string.Create(CultureInfo.InvariantCulture, $"{Shape} {Method}, {Tokens} tokens");

    /// <summary>The base, f32 as torch computes by default.</summary>
    public TinyLlama Model()
    {
        TinyLlama small = new()
        {
            VocabularySize = 2000,
            HiddenSize = 256,
            IntermediateSize = 688,
            Layers = 6,
            Heads = 8,
            KvHeads = 8,
        };
        return Shape == "5m" ? small : small with
        {
            VocabularySize = 32_000,
            HiddenSize = 768,
            IntermediateSize = 2048,
            Layers = 12,
            Heads = 12,
            KvHeads = 12,
        };
    }

    /// <summary>The adapter, on all linear modules; with PEFT's names.</summary>
    public string AdapterConfig() => string.Create(
        CultureInfo.InvariantCulture,
        $$"""
        {"peft_type": "LORA", "r": {{Rank}}, "lora_alpha": {{2 * Rank}}, "target_modules": "all-linear", "use_dora": {{(Method == "dora" ? "true" : "false")}}}
        """);

    /// <summary>The sequences of the batch, the same at every step.</summary>
    public int[][] Sequences()
    {
        Random random = new(7);
        int vocabulary = Model().VocabularySize;
        return [.. Enumerable.Range(0, Tokens / SequenceLength).Select(
            _ => Enumerable.Range(0, SequenceLength).Select(_ => random.Next(vocabulary)).ToArray())];
    }
}
