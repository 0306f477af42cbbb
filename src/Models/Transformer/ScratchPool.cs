using InferenceServer.Tensors;

namespace InferenceServer.Models.Transformer;

/// <summary>Activations that only rare adapters need; allocated when first asked for and kept.</summary>
public sealed class ScratchPool : IDisposable
{
    private readonly IComputeBackend _backend;
    private DeviceBuffer? _inputs;
    private DeviceBuffer? _outputs;

    public ScratchPool(IComputeBackend backend) => _backend = backend;

    /// <summary>Room for scaled inputs.</summary>
    public TensorView Inputs(int rows, int columns) => View(ref _inputs, rows, columns, "scaled inputs");

    /// <summary>Room for a second output.</summary>
    public TensorView Outputs(int rows, int columns) => View(ref _outputs, rows, columns, "scaled outputs");

    public void Dispose()
    {
        _inputs?.Dispose();
        _outputs?.Dispose();
    }

    private TensorView View(ref DeviceBuffer? buffer, int rows, int columns, string label)
    {
        long bytes = (long)rows * columns * sizeof(float);
        if (buffer is null || buffer.ByteCount < bytes)
        {
            buffer?.Dispose();
            buffer = _backend.Allocate(bytes, label);
        }

        return new TensorView(buffer, rows, columns);
    }
}
