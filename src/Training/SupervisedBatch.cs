namespace InferenceServer.Training;

/// <summary>
/// Sequences that are computed together, one after the other without padding. The loss is the mean over all labelled tokens; a token is
/// predicted from those before it, so the label of a first token does not count.
/// </summary>
public sealed class SupervisedBatch
{
    /// <exception cref="ArgumentException">A sequence is empty, its labels do not match it, or nothing is labelled.</exception>
    public SupervisedBatch(IReadOnlyList<SupervisedSequence> sequences)
    {
        ArgumentNullException.ThrowIfNull(sequences);
        for (int i = 0; i < sequences.Count; i++)
        {
            (int[] tokens, int[] labels) = sequences[i];
            if (tokens.Length == 0 || tokens.Length != labels.Length)
            {
                throw new ArgumentException($"sequence {i} has {tokens.Length} tokens and {labels.Length} labels");
            }

            TokenCount += tokens.Length;
            LabelCount += labels.Skip(1).Count(label => label != SupervisedSequence.Ignored);
        }

        Sequences = sequences;
        if (LabelCount == 0)
        {
            throw new ArgumentException($"no token of the {sequences.Count} sequences is labelled");
        }
    }

    public IReadOnlyList<SupervisedSequence> Sequences { get; }

    /// <summary>Tokens of all sequences.</summary>
    public int TokenCount { get; }

    /// <summary>Tokens that count in the loss.</summary>
    public int LabelCount { get; }

    /// <summary>Takes a padded batch apart; padding is at the right, where the mask is 0.</summary>
    /// <param name="columns">Tokens of a padded row.</param>
    /// <param name="tokens">Row-major.</param>
    /// <param name="mask">1 for a token, 0 for padding.</param>
    /// <param name="labels">Row-major.</param>
    /// <exception cref="ArgumentException">The sizes do not match, or padding is not at the right.</exception>
    public static SupervisedBatch FromPadded(int columns, ReadOnlySpan<int> tokens, ReadOnlySpan<int> mask, ReadOnlySpan<int> labels)
    {
        if (columns < 1 || tokens.Length % columns != 0 || mask.Length != tokens.Length || labels.Length != tokens.Length)
        {
            throw new ArgumentException(
                $"{tokens.Length} tokens, {mask.Length} mask values and {labels.Length} labels in rows of {columns}");
        }

        List<SupervisedSequence> sequences = [];
        for (int first = 0; first < tokens.Length; first += columns)
        {
            ReadOnlySpan<int> row = mask.Slice(first, columns);
            int length = row.IndexOf(0) is var end and >= 0 ? end : columns;
            if (row[length..].ContainsAnyExcept(0))
            {
                throw new ArgumentException($"row {first / columns} is padded on its left or within");
            }

            sequences.Add(new SupervisedSequence(tokens.Slice(first, length).ToArray(), labels.Slice(first, length).ToArray()));
        }

        return new SupervisedBatch(sequences);
    }
}
