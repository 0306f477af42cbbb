using InferenceServer.Cuda.Kernels;
using InferenceServer.Cuda.Weights;
using InferenceServer.Tensors;

namespace InferenceServer.Cuda.Products;

/// <summary>
/// Products of many rows with weights of every format, by cuBLASLt. f32 weights are multiplied in f32; all others as bf16, which quantised ones are
/// unpacked and rounded to, by activations or gradients rounded to bf16.
/// </summary>
internal sealed class GemmProducts : IDisposable
{
    // Quantised weights are unpacked in pieces, which stay in the second-level cache until the product reads them.
    private const long PieceBytes = 24 << 20;
    private const int MostPieceRows = 65520;

    private readonly KernelContext _context;
    private readonly NarrowRows _narrow;
    private readonly UnpackRows _unpack;
    public GemmProducts(KernelContext context)
    {
        _context = context;
        _narrow = new NarrowRows(context);
        _unpack = new UnpackRows(context);
        Plain = new LtProducts(context);
    }

    /// <summary>Products of plain matrices.</summary>
    public LtProducts Plain { get; }

    /// <summary><c>y = x w^T</c>.</summary>
    public void Multiply(TensorView x, CudaWeightMatrix weight, TensorView y)
    {
        LtMatrix input = Factor(x, weight.Format);
        for (int first = 0; first < weight.Rows;)
        {
            LtMatrix piece = Piece(weight, first);
            Plain.Run(1f, input, piece with { IsTransposed = true }, LtMatrix.Of(y.SliceColumns(first, piece.Rows)), add: false);
            first += piece.Rows;
        }
    }

    /// <summary><c>dx += dy w</c>.</summary>
    public void AddGradient(TensorView dy, CudaWeightMatrix weight, TensorView dx)
    {
        LtMatrix gradient = Factor(dy, weight.Format);
        for (int first = 0; first < weight.Rows;)
        {
            LtMatrix piece = Piece(weight, first);
            long offset = first * (gradient.IsBFloat16 ? sizeof(ushort) : (long)sizeof(float));
            LtMatrix part = gradient with { Address = gradient.Address + (ulong)offset, Columns = piece.Rows };
            Plain.Run(1f, part, piece, LtMatrix.Of(dx), add: true);
            first += piece.Rows;
        }
    }

    public void Dispose() => Plain.Dispose();

    /// <summary>Activations in the type that the weights are multiplied in.</summary>
    private LtMatrix Factor(TensorView x, WeightFormat format)
    {
        if (format == WeightFormat.F32)
        {
            return LtMatrix.Of(x);
        }

        int stride = Aligned(x.Columns);
        ulong narrow = _context.Scratch.Take("activations in bf16", (long)x.Rows * stride * sizeof(ushort));
        _narrow.Run(x, narrow, stride);
        return new LtMatrix(narrow, x.Rows, x.Columns, stride, IsBFloat16: true);
    }

    /// <summary>Rows of a matrix from one on: all, where it lies row by row.</summary>
    private LtMatrix Piece(CudaWeightMatrix weight, int first)
    {
        if (!weight.Format.IsQuantized())
        {
            return new LtMatrix(weight.Address, weight.Rows, weight.Columns, weight.Layout.Stride, IsBFloat16: weight.Format == WeightFormat.BF16);
        }

        int stride = Aligned(weight.Columns);
        long rowBytes = (long)stride * sizeof(ushort);
        int most = (int)Math.Clamp((PieceBytes / rowBytes) & ~15L, WeightLayout.UnitRows, MostPieceRows);
        int rows = Math.Min(most, weight.Rows - first);
        ulong unpacked = _context.Scratch.Take("weights in bf16", Math.Min(most, weight.Rows) * rowBytes);
        _unpack.Run(weight, first, rows, unpacked, stride);
        return new LtMatrix(unpacked, rows, weight.Columns, stride, IsBFloat16: true);
    }

    // Rows of bf16 that begin at multiples of 16 bytes.
    private static int Aligned(int columns) => (columns + 7) & ~7;
}
