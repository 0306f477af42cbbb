namespace InferenceServer.Engine.Scheduling;

/// <summary>Where a sequence is.</summary>
public enum SequenceState
{
    /// <summary>Not yet added to a scheduler.</summary>
    New,

    /// <summary>In the queue, without KV blocks: never run yet, or preempted.</summary>
    Waiting,

    /// <summary>Has KV blocks and takes part in steps.</summary>
    Running,

    /// <summary>Out of the scheduler: finished, failed, cancelled or expired.</summary>
    Ended,
}
