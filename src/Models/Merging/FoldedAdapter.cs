using InferenceServer.Models.Transformer;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Adapters;

namespace InferenceServer.Models.Merging;

/// <summary>An adapter folded into copies of the base weights; the base's own are kept aside, so removing it restores every bit.</summary>
public sealed class FoldedAdapter : IDisposable
{
    internal FoldedAdapter(
        IReadOnlyList<KeyValuePair<Linear, WeightMatrix>> weights,
        AdapterWeights inverse,
        AdapterWeights residual,
        int moduleCount)
    {
        Weights = weights;
        Inverse = inverse;
        Residual = residual;
        ModuleCount = moduleCount;
        ExtraBytes = weights.Sum(pair => pair.Value.ByteCount);
    }

    /// <summary>Takes the change out again: for the rows of every other tenant and of the base, in StepInputs.Restore.</summary>
    public AdapterWeights Inverse { get; }

    /// <summary>What cannot be folded (biases, embeddings, replaced weights, norms): the merged tenant's own rows use it in place of the adapter.</summary>
    public AdapterWeights Residual { get; }

    /// <summary>Modules folded.</summary>
    public int ModuleCount { get; }

    /// <summary>Device bytes held beside the base weights.</summary>
    public long ExtraBytes { get; }

    internal IReadOnlyList<KeyValuePair<Linear, WeightMatrix>> Weights { get; }

    public void Dispose()
    {
        foreach ((_, WeightMatrix weight) in Weights)
        {
            weight.Dispose();
        }
    }
}
