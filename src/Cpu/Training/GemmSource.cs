using InferenceServer.Cpu.Kernels;
using InferenceServer.Cpu.Weights;
using InferenceServer.Tensors;

namespace InferenceServer.Cpu.Training;

/// <summary>One factor of a <see cref="Gemm{TSimd, TVector}"/>: a row-major matrix, read as it is or transposed, or a packed weight.</summary>
internal readonly struct GemmSource
{
    private GemmSource(Rows rows, bool isTransposed, CpuWeightMatrix? packed)
    {
        Rows = rows;
        IsTransposed = isTransposed;
        Packed = packed;
    }

    public Rows Rows { get; }

    /// <summary>Whether element (i, j) is at row j, column i.</summary>
    public bool IsTransposed { get; }

    public CpuWeightMatrix? Packed { get; }

    public static GemmSource Of(TensorView view) => new(new Rows(view), false, null);

    public static GemmSource Transposed(TensorView view) => new(new Rows(view), true, null);

    public static GemmSource Of(CpuWeightMatrix weight) => new(default, false, weight);
}
