using InferenceServer.Tensors;
using InferenceServer.Tensors.Steps;

namespace InferenceServer.Models.Transformer;

/// <summary>RMSNorm or LayerNorm, with the rows of adapters that bring their own weight or bias (modules_to_save, bias="all").</summary>
public sealed class Norm : IDisposable
{
    private readonly ModuleShape _module;
    private readonly DeviceBuffer _weight;
    private readonly DeviceBuffer? _bias;
    private readonly bool _isLayerNorm;
    private readonly float _offset;
    private readonly float _epsilon;

    public Norm(ModuleShape module, DeviceBuffer weight, DeviceBuffer? bias, bool isLayerNorm, float offset, float epsilon)
    {
        _module = module;
        _weight = weight;
        _bias = bias;
        _isLayerNorm = isLayerNorm;
        _offset = offset;
        _epsilon = epsilon;
    }

    internal ModuleShape Module => _module;

    internal DeviceBuffer Weight => _weight;

    internal DeviceBuffer? Bias => _bias;

    /// <summary>Normalises x into y; they must not overlap.</summary>
    public void Forward(IComputeBackend backend, LoraBatch adapters, TensorView x, TensorView y)
    {
        Apply(backend, x, _weight, y);
        foreach (ref readonly LoraGroup group in adapters.Groups)
        {
            foreach (ref readonly LoraEntry entry in adapters.EntriesOf(group))
            {
                if (entry.Adapter.NormWeight(_module.Index) is { } weight)
                {
                    Apply(backend, x.SliceRows(group.FirstRow, group.RowCount), weight, y.SliceRows(group.FirstRow, group.RowCount));
                }
            }

            foreach (ref readonly LoraEntry entry in adapters.EntriesOf(group))
            {
                if (entry.Adapter.NormBias(_module.Index) is { } bias)
                {
                    backend.AddBias(bias, y.SliceRows(group.FirstRow, group.RowCount));
                }
            }
        }
    }

    public void Dispose()
    {
        _weight.Dispose();
        _bias?.Dispose();
    }

    private void Apply(IComputeBackend backend, TensorView x, DeviceBuffer weight, TensorView y)
    {
        if (_isLayerNorm)
        {
            backend.LayerNorm(x, weight, _bias, _epsilon, y);
        }
        else
        {
            backend.RmsNorm(x, weight, _offset, _epsilon, y);
        }
    }
}
