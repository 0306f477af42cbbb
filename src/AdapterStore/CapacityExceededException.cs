namespace InferenceServer.AdapterStore;

/// <summary>Something does not fit a limit and never will while the limit stands; the message names both sizes.</summary>
public sealed class CapacityExceededException : Exception
{
    /// <param name="message">What does not fit, its size, the limit's name and value.</param>
    /// <param name="needed">Bytes (or items) that were needed.</param>
    /// <param name="limit">Bytes (or items) that there are.</param>
    public CapacityExceededException(string message, long needed, long limit)
        : base(message)
    {
        Needed = needed;
        Limit = limit;
    }

    public long Needed { get; }

    public long Limit { get; }
}
