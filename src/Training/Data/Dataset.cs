using InferenceServer.Models.ChatTemplates;
using InferenceServer.Models.Tokenization;

namespace InferenceServer.Training.Data;

/// <summary>Training examples, tokenised.</summary>
public sealed class Dataset
{
    public Dataset(IReadOnlyList<SupervisedSequence> samples)
    {
        ArgumentNullException.ThrowIfNull(samples);
        Samples = samples;
    }

    /// <summary>The examples in the order of the file.</summary>
    public IReadOnlyList<SupervisedSequence> Samples { get; }

    /// <summary>The questions of those examples that have one, in the same order.</summary>
    public IEnumerable<SampleQuestion> Questions => Samples.Select(sample => sample.Question).OfType<SampleQuestion>();

    /// <summary>Reads a JSONL file; see <see cref="Read"/>.</summary>
    public static Dataset Load(string path, Tokenizer tokenizer, ChatTemplateSet? templates, DatasetOptions options)
    {
        using FileStream stream = new(path, FileMode.Open, FileAccess.Read, FileShare.Read, bufferSize: 0);
        return Read(stream, Path.GetFileName(path), tokenizer, templates, options);
    }

    /// <summary>
    /// Reads JSON lines of <c>{"prompt", "completion"}</c>, <c>{"messages"}</c> or <c>{"text"}</c>; kinds may mix. Only one line is in
    /// memory besides the samples' tokens.
    /// </summary>
    /// <param name="stream">The lines.</param>
    /// <param name="name">What errors call it.</param>
    /// <param name="tokenizer">The base's.</param>
    /// <param name="templates">The base's chat template; null when it has none, then messages are an error.</param>
    /// <param name="options">Limits.</param>
    /// <exception cref="DatasetException">A line is no sample, or there is none.</exception>
    public static Dataset Read(Stream stream, string name, Tokenizer tokenizer, ChatTemplateSet? templates, DatasetOptions options)
    {
        ArgumentNullException.ThrowIfNull(tokenizer);
        ArgumentNullException.ThrowIfNull(options);
        ArgumentOutOfRangeException.ThrowIfLessThan(options.MaxSampleTokens, 2);
        ArgumentOutOfRangeException.ThrowIfLessThan(options.MaxLineBytes, 2);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(options.MaxLineBytes, 1 << 30);
        SampleEncoder encoder = new(tokenizer, templates, options);
        List<SupervisedSequence> samples = [];
        int dropped = 0;
        foreach ((int line, ReadOnlyMemory<byte> bytes) in JsonLines.Read(stream, name, options.MaxLineBytes))
        {
            if (encoder.Encode(bytes, new SampleLocation(name, line)) is { } sample)
            {
                samples.Add(sample);
            }
            else
            {
                dropped++;
            }
        }

        return samples.Count > 0 ? new Dataset(samples)
            : dropped > 0 ? throw new DatasetException(name, 0, null, $"each of the {dropped} samples is longer than MaxSampleTokens {options.MaxSampleTokens}")
            : throw new DatasetException(name, 0, null, "the set is empty");
    }

    /// <summary>Splits off examples that are not learnt, to judge by; the same ones for the same seed, in the order of the file.</summary>
    /// <param name="share">Share of the examples to hold out, from 0 to below 1; above 0 at least one is.</param>
    /// <param name="seed">Chooses them.</param>
    /// <exception cref="ArgumentException">Nothing would be left to learn.</exception>
    public (Dataset Train, Dataset HeldOut) Split(double share, int seed)
    {
        if (share is not (>= 0 and < 1))
        {
            throw new ArgumentException($"a held-out share of {share} is not from 0 to below 1");
        }

        int count = share > 0 ? Math.Max(1, (int)Math.Round(share * Samples.Count)) : 0;
        if (count >= Samples.Count)
        {
            throw new ArgumentException($"a held-out share of {share} leaves none of {Samples.Count} samples to learn");
        }

        HashSet<int> heldOut = [.. Permutation.Create(Samples.Count, seed, 0).Take(count)];
        return (
            new Dataset([.. Samples.Where((_, index) => !heldOut.Contains(index))]),
            new Dataset([.. Samples.Where((_, index) => heldOut.Contains(index))]));
    }
}
