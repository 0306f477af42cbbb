using InferenceServer.Cuda.Kernels;
using InferenceServer.Cuda.Kernels.Training;
using InferenceServer.Cuda.Memory;
using InferenceServer.Cuda.Products;
using InferenceServer.Cuda.Weights;
using InferenceServer.Tensors;

namespace InferenceServer.Cuda.Training;

/// <summary>
/// Operations with weights that are not trained, in whatever format the device holds them. Where products are exact, pieces of their rows are
/// unpacked to f32. Else weights that are not f32 are multiplied by tensor cores, and the gradient is rounded to bf16 for it as the forward's
/// input is.
/// </summary>
internal sealed class FrozenWeights
{
    // A piece stays in the second-level cache until the product reads it. It depends on the shape only, as the order of the sums does.
    private const long PieceBytes = 24 << 20;
    private const int PieceStep = 64;
    private const int MostPieceRows = 65472;

    private readonly KernelContext _context;
    private readonly UnpackWeights _unpack;
    private readonly TrainingProducts _products;
    private readonly Totals _totals;

    public FrozenWeights(KernelContext context, TrainingProducts products, Totals totals)
    {
        _context = context;
        _unpack = new UnpackWeights(context);
        _products = products;
        _totals = totals;
    }

    /// <summary><c>dx += dy W</c>.</summary>
    public void AddGradient(TensorView dy, CudaWeightMatrix weight, TensorView dx)
    {
        if (weight.Format != WeightFormat.F32 && !_products.IsExact)
        {
            _products.WithWeights.AddGradient(dy, weight, dx);
            return;
        }

        int most = PieceRows(weight.Columns);
        for (int first = 0; first < weight.Rows; first += most)
        {
            int rows = Math.Min(most, weight.Rows - first);
            LtMatrix piece = weight.Format == WeightFormat.F32
                ? new LtMatrix(weight.Address + ((ulong)first * (ulong)weight.Layout.Stride * sizeof(float)), rows, weight.Columns, weight.Layout.Stride)
                : Unpacked(weight, first, rows);
            _products.Run(1f, LtMatrix.Of(dy.SliceColumns(first, rows)), piece, dx, add: true);
        }
    }

    /// <summary><c>norms[o] = |W[firstRow + o] + factor b[o] a|</c>.</summary>
    public void AdaptedRowNorms(CudaWeightMatrix weight, int firstRow, TensorView a, TensorView b, float factor, TensorView norms)
    {
        int most = PieceRows(weight.Columns);
        for (int first = 0; first < b.Rows; first += most)
        {
            int rows = Math.Min(most, b.Rows - first);
            LtMatrix sum = Unpacked(weight, firstRow + first, rows);
            _products.Run(factor, LtMatrix.Of(b.SliceRows(first, rows)), LtMatrix.Of(a), sum, add: true);
            _totals.RowLengths(sum.Address, rows, weight.Columns, CudaBuffer.AddressOf(norms) + ((ulong)first * sizeof(float)));
        }
    }

    private static int PieceRows(int columns) =>
        (int)Math.Clamp(PieceBytes / ((long)columns * sizeof(float)) / PieceStep * PieceStep, PieceStep, MostPieceRows);

    private LtMatrix Unpacked(CudaWeightMatrix weight, int first, int rows)
    {
        ulong unpacked = _context.Scratch.Take("weights in f32", (long)rows * weight.Columns * sizeof(float));
        _unpack.Run(weight, first, rows, unpacked);
        return new LtMatrix(unpacked, rows, weight.Columns, weight.Columns);
    }
}
