using InferenceServer.Cuda.Compilation;
using InferenceServer.Cuda.Memory;
using InferenceServer.Tensors;

namespace InferenceServer.Cuda.Kernels.Training;

/// <summary>Launches IndexedRows.cu.</summary>
internal sealed class IndexedRows
{
    private readonly KernelContext _context;
    private readonly UploadRing _uploads;
    private readonly KernelFunction _gather;
    private readonly KernelFunction _scatter;
    private long[] _sorted = [];
    private int[] _groups = [];

    public IndexedRows(KernelContext context, UploadRing uploads)
    {
        _context = context;
        _uploads = uploads;
        KernelModule module = context.Library["IndexedRows.cu"];
        _gather = module.Function("gather_indexed", ElementGrid.Threads);
        _scatter = module.Function("scatter_indexed", ElementGrid.Threads);
    }

    /// <param name="table">The table.</param>
    /// <param name="byColumn">Whether the indices name its columns, not its rows.</param>
    /// <param name="indices">One for each row of y.</param>
    /// <param name="y">Result.</param>
    public void Gather(TensorView table, bool byColumn, ReadOnlySpan<int> indices, TensorView y)
    {
        ElementGrid grid = ElementGrid.ByRow(y);
        if (grid.Grid.IsEmpty)
        {
            return;
        }

        _context.Queue.Launch(
            _gather,
            grid.Grid,
            CudaBuffer.AddressOf(table),
            byColumn ? 1 : table.RowStride,
            byColumn ? table.RowStride : 1,
            _uploads.Put(indices, _context.Queue.Stream()),
            CudaBuffer.AddressOf(y),
            y.RowStride,
            (ulong)grid.Columns,
            grid.Pieces);
    }

    /// <param name="dy">Gradient of the gathered rows.</param>
    /// <param name="indices">One for each row of dy.</param>
    /// <param name="dtable">Gradient of the table; added to.</param>
    /// <param name="byColumn">Whether the indices name its columns, not its rows.</param>
    public void Scatter(TensorView dy, ReadOnlySpan<int> indices, TensorView dtable, bool byColumn)
    {
        if (dy.Rows == 0 || dy.Columns == 0)
        {
            return;
        }

        int groups = Sort(indices);
        int rows = indices.Length;

        // One table: targets, starts (one more than groups), order.
        ulong tables = _uploads.Put(_groups.AsSpan(0, groups + groups + 1 + rows), _context.Queue.Stream());
        ulong starts = tables + ((ulong)groups * sizeof(int));
        ElementGrid grid = new(groups, dy.Columns);
        _context.Queue.Launch(
            _scatter,
            grid.Grid,
            CudaBuffer.AddressOf(dy),
            dy.RowStride,
            tables,
            starts,
            starts + ((ulong)(groups + 1) * sizeof(int)),
            CudaBuffer.AddressOf(dtable),
            byColumn ? 1 : dtable.RowStride,
            byColumn ? dtable.RowStride : 1,
            (ulong)grid.Columns,
            grid.Pieces);
    }

    // Rows by their index, equal ones in their order; returns the number of different indices.
    private int Sort(ReadOnlySpan<int> indices)
    {
        if (_sorted.Length < indices.Length)
        {
            _sorted = new long[indices.Length];
            _groups = new int[(3 * indices.Length) + 1];
        }

        Span<long> sorted = _sorted.AsSpan(0, indices.Length);
        for (int i = 0; i < sorted.Length; i++)
        {
            sorted[i] = ((long)indices[i] << 32) | (uint)i;
        }

        sorted.Sort();
        int groups = 0;
        for (int i = 0; i < sorted.Length; i++)
        {
            if (i == 0 || sorted[i] >> 32 != sorted[i - 1] >> 32)
            {
                _groups[groups++] = (int)(sorted[i] >> 32);
            }
        }

        Span<int> starts = _groups.AsSpan(groups, groups + 1);
        Span<int> order = _groups.AsSpan(groups + groups + 1, sorted.Length);
        int group = 0;
        for (int i = 0; i < sorted.Length; i++)
        {
            if (i == 0 || sorted[i] >> 32 != sorted[i - 1] >> 32)
            {
                starts[group++] = i;
            }

            order[i] = (int)sorted[i];
        }

        starts[group] = sorted.Length;
        return groups;
    }
}
