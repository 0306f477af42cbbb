using InferenceServer.Cuda.Memory;
using InferenceServer.Tensors;

namespace InferenceServer.Cuda.Products;

/// <summary>A row-major matrix in device memory, as a factor or the result of a product.</summary>
/// <param name="Address">First element.</param>
/// <param name="Rows">Rows as it is stored.</param>
/// <param name="Columns">Columns as it is stored.</param>
/// <param name="Stride">Elements from one row to the next.</param>
/// <param name="IsTransposed">Whether the product takes its transpose; never a result.</param>
/// <param name="IsBFloat16">bf16 instead of f32; never a result.</param>
internal readonly record struct LtMatrix(ulong Address, int Rows, int Columns, int Stride, bool IsTransposed = false, bool IsBFloat16 = false)
{
    /// <summary>The matrix of a view.</summary>
    public static LtMatrix Of(TensorView view) => new(CudaBuffer.AddressOf(view), view.Rows, view.Columns, view.RowStride);

    /// <summary>The transpose of a view's matrix.</summary>
    public static LtMatrix Transposed(TensorView view) => Of(view) with { IsTransposed = true };

    /// <summary>Bytes that the address is a multiple of; cuBLASLt asks for no more than 256.</summary>
    public uint Alignment => Address % 256 == 0 ? 256u : 1u << int.Min(8, System.Numerics.BitOperations.TrailingZeroCount(Address));
}
