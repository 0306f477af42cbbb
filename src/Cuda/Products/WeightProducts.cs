using InferenceServer.Cuda.Kernels;
using InferenceServer.Cuda.Memory;
using InferenceServer.Cuda.Weights;
using InferenceServer.Tensors;

namespace InferenceServer.Cuda.Products;

/// <summary>
/// <c>y = x w^T</c> for weights of every format: own kernels for few rows, for the steps of graphs and where products are to be exact, else
/// <see cref="GemmProducts"/>.
/// </summary>
internal sealed class WeightProducts : IDisposable
{
    // Up to here own kernels are bound by the weights' bytes.
    private const int MostOwnRows = TensorCoreProduct.TileRows;

    private readonly KernelContext _context;
    private readonly Float32Product _float32;
    private readonly Dictionary<WeightFormat, TensorCoreProduct> _tensorCore;
    private readonly GemmProducts _gemm;
    private readonly CudaBuffer _arrived;

    /// <param name="context">What launchers share.</param>
    /// <param name="mostSharedBytes">Shared memory of a block; that of the device when it is 0.</param>
    public WeightProducts(KernelContext context, int mostSharedBytes = 0)
    {
        _context = context;
        _float32 = new Float32Product(context);
        _gemm = new GemmProducts(context);
        _arrived = new CudaBuffer(context.Device, TensorCoreProduct.CounterBytes(context.Machine.Options.MaxGraphRows), "counters of products in parts");
        context.Machine.Copies.Clear(_arrived);
        ulong arrived = _arrived.Address;
        int shared = mostSharedBytes == 0 ? context.Device.MaxSharedBytes : mostSharedBytes;
        _tensorCore = new Dictionary<WeightFormat, TensorCoreProduct>
        {
            [WeightFormat.BF16] = new(context, "ProductBF16.cu", "product_bf16", 128 * 128, 0, [(1, 3), (1, 3), (1, 3), (1, 3)], shared, arrived),
            [WeightFormat.Int8] = new(context, "ProductInt8.cu", "product_int8", 8 * 1088, 0, [(2, 3), (2, 3), (1, 5), (1, 5)], shared, arrived),
            [WeightFormat.NF4] = new(context, "ProductNF4.cu", "product_nf4", 8 * 576, 256 * 32 * 4, [(2, 3), (2, 3), (1, 5), (1, 5)], shared, arrived),
        };
    }

    /// <summary><c>y = x w^T</c>.</summary>
    public void Run(TensorView x, CudaWeightMatrix weight, TensorView y)
    {
        bool isExact = _context.Machine.Options.Products == CudaProducts.Exact;
        if (x.Rows > MostOwnRows && !isExact && _context.Step.RowsOf(x.Rows).Pointer == 0)
        {
            _gemm.Multiply(x, weight, y);
        }
        else if (weight.Format == WeightFormat.F32)
        {
            _float32.Run(x, weight, y);
        }
        else
        {
            _tensorCore[weight.Format].Run(x, weight, y);
        }
    }

    public void Dispose()
    {
        _gemm.Dispose();
        _arrived.Dispose();
    }
}
