using InferenceServer.Cuda.Compilation;
using InferenceServer.Cuda.Launching;
using InferenceServer.Cuda.Products;

namespace InferenceServer.Cuda.Kernels.Training;

/// <summary>Launches FloatProducts.cu: products of f32 matrices that round nothing but sums.</summary>
internal sealed class FloatProducts
{
    private const int Threads = 256;
    private const int Depth = 16;

    // Slices of k: enough blocks for a large device, none so thin that starting it costs more than it does.
    private const int WantedTiles = 256;
    private const int SmallestSlice = 256;

    private readonly KernelContext _context;
    private readonly KernelFunction _square;
    private readonly KernelFunction _narrow;
    private readonly KernelFunction _flat;
    private readonly KernelFunction _addSlices;

    public FloatProducts(KernelContext context)
    {
        _context = context;
        KernelModule module = context.Library["FloatProducts.cu"];
        _square = module.Function("multiply_square", Threads);
        _narrow = module.Function("multiply_narrow", Threads);
        _flat = module.Function("multiply_flat", Threads);
        _addSlices = module.Function("add_product_slices", Threads);
    }

    /// <summary><c>y = factor op(a) op(b)</c>, or added to y; all f32.</summary>
    /// <param name="factor">Factor of the product.</param>
    /// <param name="a"><c>[m, k]</c>, or <c>[k, m]</c> transposed.</param>
    /// <param name="b"><c>[k, n]</c>, or <c>[n, k]</c> transposed.</param>
    /// <param name="y"><c>[m, n]</c>.</param>
    /// <param name="add">Whether to add.</param>
    /// <param name="k">Depth; 0 gives zeros.</param>
    public void Run(float factor, LtMatrix a, LtMatrix b, LtMatrix y, bool add, int k)
    {
        (int m, int n) = (y.Rows, y.Columns);
        (KernelFunction kernel, int tileRows, int tileColumns) = n <= 16 && m > n ? (_narrow, 128, 16)
            : m <= 16 ? (_flat, 16, 128)
            : (_square, 64, 64);
        int tiles = Grid.Cover(m, tileRows) * Grid.Cover(n, tileColumns);
        int slices = tiles == 0 ? 1 : Math.Clamp(WantedTiles / tiles, 1, Math.Max(1, k / SmallestSlice));
        int sliceDepth = Math.Max(1, Grid.Cover(Grid.Cover(k, slices), Depth)) * Depth;
        slices = Math.Max(1, Grid.Cover(k, sliceDepth));
        ulong partial = slices > 1 ? _context.Scratch.Take("slices of products", (long)slices * m * n * sizeof(float)) : 0;
        _context.Queue.Launch(
            kernel,
            new Grid(Grid.Cover(n, tileColumns), Grid.Cover(m, tileRows), slices),
            factor,
            a.Address,
            a.IsTransposed ? 1 : a.Stride,
            a.IsTransposed ? a.Stride : 1,
            b.Address,
            b.IsTransposed ? 1 : b.Stride,
            b.IsTransposed ? b.Stride : 1,
            y.Address,
            y.Stride,
            add ? 1 : 0,
            partial,
            sliceDepth,
            m,
            n,
            k);
        if (slices > 1)
        {
            int pieces = Grid.Cover(n, Threads);
            _context.Queue.Launch(_addSlices, new Grid(m * pieces), factor, partial, slices, y.Address, y.Stride, add ? 1 : 0, m, n, pieces);
        }
    }
}
