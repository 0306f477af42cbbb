namespace InferenceServer.Engine.Scheduling;

/// <summary>The part of a step that belongs to one sequence.</summary>
/// <param name="Sequence">Whose tokens.</param>
/// <param name="FirstPosition">Position of the first token to compute; all before it are in the KV cache.</param>
/// <param name="TokenCount">Tokens to compute, at least 1.</param>
/// <param name="IsSampled">Whether the last of them is the sequence's last known token, so that the next one is to be sampled.</param>
public readonly record struct PlannedSequence(Sequence Sequence, int FirstPosition, int TokenCount, bool IsSampled);
