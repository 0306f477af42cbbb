namespace InferenceServer.Training.Jobs;

/// <summary>Where a job stands.</summary>
public enum JobState
{
    /// <summary>It waits; also one that a stop of the server interrupted.</summary>
    Queued,

    Running,

    /// <summary>All steps are done, and what was to be published is.</summary>
    Completed,

    /// <summary>The same, after the held-out loss did not fall any more.</summary>
    StoppedEarly,

    /// <summary>It was asked to stop, and may be resumed.</summary>
    Cancelled,

    /// <summary>Something went wrong; it may be resumed.</summary>
    Failed,
}
