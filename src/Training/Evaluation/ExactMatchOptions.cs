namespace InferenceServer.Training.Evaluation;

/// <summary>How much is asked, and how much of it is told.</summary>
public sealed record ExactMatchOptions
{
    /// <summary>Most questions, from the first on; null for all.</summary>
    public int? MaxQuestions { get; init; }

    /// <summary>Longest answer in tokens; a longer expected one cannot be met.</summary>
    public int MaxTokens { get; init; } = 64;

    /// <summary>Wrong answers that are kept to be shown.</summary>
    public int MaxExamples { get; init; }
}
