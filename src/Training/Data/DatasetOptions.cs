namespace InferenceServer.Training.Data;

/// <summary>How a data set is read.</summary>
public sealed record DatasetOptions
{
    /// <summary>Most tokens of a sample. At most <see cref="TrainingOptions.MaxBatchTokens"/>, or it fits into no batch.</summary>
    public int MaxSampleTokens { get; init; } = 1024;

    /// <summary>What becomes of longer ones.</summary>
    public LongSamplePolicy LongSamples { get; init; } = LongSamplePolicy.Truncate;

    /// <summary>Most bytes of a line: the memory that reading takes besides the samples' tokens.</summary>
    public int MaxLineBytes { get; init; } = 1 << 20;

    /// <summary>Rows of the model's embedding; a tokenizer may know more tokens. 0 leaves that to the first step.</summary>
    public int VocabularySize { get; init; }

    /// <summary>
    /// Ends a completion and a text with the model's end of sentence, which is learnt as well. Conversations end as their template says.
    /// </summary>
    public bool AppendsEndOfSentence { get; init; } = true;
}
