using InferenceServer.AdapterStore;
using InferenceServer.Engine.KvBlocks;
using InferenceServer.Models.Merging;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Adapters;

namespace InferenceServer.Engine.Merging;

/// <summary>A folded adapter with all that steps need while it is in the base.</summary>
internal sealed class MergedState : IDisposable
{
    private readonly FoldedAdapter _folded;

    /// <summary>Takes over <paramref name="folded"/>, also when it throws.</summary>
    public MergedState(AdapterId id, int epoch, FoldedAdapter folded, IComputeBackend backend)
    {
        Id = id;
        Epoch = epoch;
        Stack = new AdapterStack([new StackedAdapter(id, 1f)]);
        _folded = folded;
        try
        {
            // f32 whatever the other adapters are kept in: every other tenant's rows pass through it.
            Inverse = backend.CreateAdapter(folded.Inverse, WeightFormat.F32);
            Residual = folded.Residual.ByteCount > 0 ? backend.CreateAdapter(folded.Residual, WeightFormat.F32) : null;
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    public AdapterId Id { get; }

    /// <summary>Number of this merge, never used before; see <see cref="PrefixRoot"/>.</summary>
    public int Epoch { get; }

    /// <summary>The stack whose rows the folded base serves as it is.</summary>
    public AdapterStack Stack { get; }

    public FoldedAdapter Folded => _folded;

    /// <summary>For the rows of everybody else.</summary>
    public DeviceAdapter? Inverse { get; }

    /// <summary>For the merged tenant's own rows; null when everything could be folded.</summary>
    public DeviceAdapter? Residual { get; }

    public long ByteCount => _folded.ExtraBytes + (Inverse?.ByteCount ?? 0) + (Residual?.ByteCount ?? 0);

    public void Dispose()
    {
        Inverse?.Dispose();
        Residual?.Dispose();
        _folded.Dispose();
    }
}
