using InferenceServer.Tensors.Steps;

namespace InferenceServer.TestKit.Models;

/// <summary>One row of a batch that <see cref="ModelHarness"/> runs.</summary>
/// <param name="Tokens">The prompt.</param>
/// <param name="Adapters">Its stack of adapters; empty for the base.</param>
/// <param name="Restore">The merged adapter's inverse, for rows that must not have it.</param>
public sealed record HarnessSequence(int[] Tokens, IReadOnlyList<LoraEntry> Adapters, IReadOnlyList<LoraEntry> Restore)
{
    public HarnessSequence(int[] tokens, params IReadOnlyList<LoraEntry> adapters)
        : this(tokens, adapters, [])
    {
    }
}
