namespace InferenceServer.Training.Runs;

/// <summary>Why a run ended.</summary>
public enum RunOutcome
{
    /// <summary>All steps are done.</summary>
    Completed,

    /// <summary>The held-out loss did not fall any more.</summary>
    StoppedEarly,

    /// <summary>It was asked to stop; the same run may be resumed from its last checkpoint.</summary>
    Cancelled,
}
