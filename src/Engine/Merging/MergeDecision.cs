using InferenceServer.AdapterStore;

namespace InferenceServer.Engine.Merging;

/// <summary>What a <see cref="MergePolicy"/> asks for.</summary>
/// <param name="IsChange">Whether anything is to change.</param>
/// <param name="Target">The adapter to merge; null to have none merged.</param>
public readonly record struct MergeDecision(bool IsChange, AdapterId? Target)
{
    public static MergeDecision Stay => default;
}
