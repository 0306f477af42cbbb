using InferenceServer.Tensors;

namespace InferenceServer.Models.Transformer;

/// <summary>RMSNorm on each head of a projection (Qwen3's q_norm and k_norm).</summary>
public sealed class HeadNorm : IDisposable
{
    private readonly DeviceBuffer _weight;
    private readonly int _headSize;
    private readonly float _epsilon;

    public HeadNorm(DeviceBuffer weight, int headSize, float epsilon)
    {
        _weight = weight;
        _headSize = headSize;
        _epsilon = epsilon;
    }

    internal DeviceBuffer Weight => _weight;

    internal int HeadSize => _headSize;

    /// <summary>Normalises every head of <paramref name="x"/>, <c>[T, heads * D]</c>, in place.</summary>
    public void Forward(IComputeBackend backend, TensorView x)
    {
        for (int first = 0; first < x.Columns; first += _headSize)
        {
            TensorView head = x.SliceColumns(first, _headSize);
            backend.RmsNorm(head, _weight, 0f, _epsilon, head);
        }
    }

    public void Dispose() => _weight.Dispose();
}
