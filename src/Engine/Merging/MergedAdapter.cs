using InferenceServer.AdapterStore;

namespace InferenceServer.Engine.Merging;

/// <summary>The adapter that is folded into the base now.</summary>
/// <param name="Id">Which.</param>
/// <param name="ModuleCount">Modules folded.</param>
/// <param name="ExtraBytes">Device bytes that the merge takes beside the base weights.</param>
/// <param name="Since">When it was put in place.</param>
/// <param name="Duration">From the request to the first step with it.</param>
public sealed record MergedAdapter(AdapterId Id, int ModuleCount, long ExtraBytes, DateTimeOffset Since, TimeSpan Duration)
{
    /// <summary>What the merge does to logits; null when it was not measured.</summary>
    public LogitChange? LogitChange { get; init; }
}
