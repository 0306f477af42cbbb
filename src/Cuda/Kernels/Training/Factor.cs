using InferenceServer.Cuda.Memory;
using InferenceServer.Tensors;

namespace InferenceServer.Cuda.Kernels.Training;

/// <summary>An f32 matrix on the device that is to be multiplied: element (i, j) lies at <c>i RowStep + j ColumnStep</c>.</summary>
/// <param name="Address">Of element (0, 0).</param>
/// <param name="RowStep">1 for a transpose.</param>
/// <param name="ColumnStep">1 for a matrix by rows.</param>
internal readonly record struct Factor(ulong Address, int RowStep, int ColumnStep)
{
    public static Factor Of(TensorView view) => new(CudaBuffer.AddressOf(view), view.RowStride, 1);

    public static Factor Transposed(TensorView view) => new(CudaBuffer.AddressOf(view), 1, view.RowStride);
}
