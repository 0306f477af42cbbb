namespace InferenceServer.Training.Jobs;

/// <summary>How a job is judged.</summary>
public sealed record EvaluationSpec
{
    /// <summary>Steps between evaluations of the held-out loss; 0 for ten in a run, -1 for the end only.</summary>
    public int Every { get; init; }

    /// <summary>Evaluations without a lower loss after which the run ends; 0 never.</summary>
    public int Patience { get; init; }

    /// <summary>Held-out prompts that are answered at the end and compared with the completion; 0 for none, -1 for all.</summary>
    public int ExactMatchSamples { get; init; }

    /// <summary>Longest answer.</summary>
    public int ExactMatchTokens { get; init; } = 64;

    internal void Check()
    {
        TrainingSpecException.Require(Every >= -1, "evaluation.every", Every, "at least -1");
        TrainingSpecException.Require(Patience >= 0, "evaluation.patience", Patience, "at least 0");
        TrainingSpecException.Require(ExactMatchSamples >= -1, "evaluation.exact_match_samples", ExactMatchSamples, "at least -1");
        TrainingSpecException.Require(ExactMatchTokens >= 1, "evaluation.exact_match_tokens", ExactMatchTokens, "at least 1");
    }
}
