using InferenceServer.Cpu.Memory;
using InferenceServer.Tensors;

namespace InferenceServer.Cpu.Kernels;

/// <summary>Where the rows of a matrix begin; a stride of 0 repeats one row.</summary>
internal readonly unsafe struct Rows
{
    private readonly float* _first;

    public Rows(float* first, nint stride)
    {
        _first = first;
        Stride = stride;
    }

    public Rows(TensorView view)
        : this(CpuBuffer.PointerOf(view), view.RowStride)
    {
    }

    /// <summary>Floats from one row to the next.</summary>
    public nint Stride { get; }

    public float* At(int row) => _first + (row * Stride);
}
