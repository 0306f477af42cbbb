namespace InferenceServer.Engine.Errors;

/// <summary>As many requests wait as may wait; the caller should come back later.</summary>
public sealed class QueueFullException : Exception
{
    public QueueFullException(int waiting, int limit, TimeSpan retryAfter)
        : base($"{waiting} requests are waiting and the limit is {limit}; retry in {retryAfter.TotalSeconds:0.#} s") => RetryAfter = retryAfter;

    /// <summary>When room is expected, from the pace of the last requests.</summary>
    public TimeSpan RetryAfter { get; }
}
