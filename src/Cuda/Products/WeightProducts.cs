using InferenceServer.Cuda.Kernels;
using InferenceServer.Cuda.Memory;
using InferenceServer.Cuda.Weights;
using InferenceServer.Tensors;

namespace InferenceServer.Cuda.Products;

/// <summary>
/// <c>y = x w^T</c> for weights of every format: own kernels for few rows, for the steps of graphs and where products are to be exact, else
/// cuBLASLt. Weights that are not f32 are multiplied by x rounded to bf16; for cuBLASLt quantised ones are unpacked and rounded to bf16 first.
/// </summary>
internal sealed class WeightProducts : IDisposable
{
    // Rows from which on a GEMM is taken: up to there own kernels are bound by the weights' bytes.
    private const int MostOwnRows = TensorCoreProduct.TileRows;

    // Quantised weights are unpacked in pieces, which stay in the second-level cache until the GEMM reads them.
    private const long PieceBytes = 24 << 20;
    private const int MostPieceRows = 65520;

    private readonly KernelContext _context;
    private readonly Float32Product _float32;
    private readonly Dictionary<WeightFormat, TensorCoreProduct> _tensorCore;
    private readonly NarrowRows _narrow;
    private readonly UnpackRows _unpack;
    private readonly LtProducts _gemm;
    private readonly CudaBuffer _arrived;

    public WeightProducts(KernelContext context)
    {
        _context = context;
        _float32 = new Float32Product(context);
        _narrow = new NarrowRows(context);
        _unpack = new UnpackRows(context);
        _gemm = new LtProducts(context);
        _arrived = new CudaBuffer(context.Device, TensorCoreProduct.CounterBytes(context.Machine.Options.MaxGraphRows), "counters of products in parts");
        context.Machine.Copies.Clear(_arrived);
        ulong arrived = _arrived.Address;
        _tensorCore = new Dictionary<WeightFormat, TensorCoreProduct>
        {
            [WeightFormat.BF16] = new(context, "ProductBF16.cu", "product_bf16", 128 * 128, 0, [(1, 3), (1, 3), (1, 3), (1, 3)], arrived),
            [WeightFormat.Int8] = new(context, "ProductInt8.cu", "product_int8", 8 * 1088, 0, [(2, 3), (2, 3), (1, 5), (1, 5)], arrived),
            [WeightFormat.NF4] = new(context, "ProductNF4.cu", "product_nf4", 8 * 576, 256 * 32 * 4, [(2, 3), (2, 3), (1, 5), (1, 5)], arrived),
        };
    }

    /// <summary>Products of plain matrices.</summary>
    public LtProducts Gemm => _gemm;

    /// <summary><c>y = x w^T</c>.</summary>
    public void Run(TensorView x, CudaWeightMatrix weight, TensorView y)
    {
        bool isOwn = x.Rows <= MostOwnRows || _context.Machine.Options.Products == CudaProducts.Exact || _context.Step.RowsOf(x.Rows).Pointer != 0;
        if (weight.Format == WeightFormat.F32)
        {
            if (isOwn)
            {
                _float32.Run(x, weight, y);
            }
            else
            {
                _gemm.Run(1f, LtMatrix.Of(x), Stored(weight) with { IsTransposed = true }, LtMatrix.Of(y), add: false);
            }
        }
        else if (isOwn)
        {
            _tensorCore[weight.Format].Run(x, weight, y);
        }
        else
        {
            Multiply(x, weight, y);
        }
    }

    public void Dispose()
    {
        _gemm.Dispose();
        _arrived.Dispose();
    }

    private static LtMatrix Stored(CudaWeightMatrix weight) =>
        new(weight.Address, weight.Rows, weight.Columns, weight.Layout.Stride, IsBFloat16: weight.Format == WeightFormat.BF16);

    private void Multiply(TensorView x, CudaWeightMatrix weight, TensorView y)
    {
        int stride = (x.Columns + 7) & ~7;
        ulong narrow = _context.Scratch.Take("x in bf16", (long)x.Rows * stride * sizeof(ushort));
        _narrow.Run(x, narrow, stride);
        LtMatrix input = new(narrow, x.Rows, x.Columns, stride, IsBFloat16: true);
        if (weight.Format == WeightFormat.BF16)
        {
            _gemm.Run(1f, input, Stored(weight) with { IsTransposed = true }, LtMatrix.Of(y), add: false);
            return;
        }

        long rowBytes = (long)stride * sizeof(ushort);
        int pieceRows = (int)Math.Clamp(PieceBytes / rowBytes & ~15L, 16, MostPieceRows);
        ulong unpacked = _context.Scratch.Take("weights in bf16", Math.Min(pieceRows, weight.Rows) * rowBytes);
        for (int first = 0; first < weight.Rows; first += pieceRows)
        {
            int rows = Math.Min(pieceRows, weight.Rows - first);
            _unpack.Run(weight, first, rows, unpacked, stride);
            LtMatrix piece = new(unpacked, rows, weight.Columns, stride, IsTransposed: true, IsBFloat16: true);
            _gemm.Run(1f, input, piece, LtMatrix.Of(y.SliceColumns(first, rows)), add: false);
        }
    }
}
