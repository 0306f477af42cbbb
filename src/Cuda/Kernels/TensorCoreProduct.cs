using InferenceServer.Cuda.Compilation;
using InferenceServer.Cuda.Launching;
using InferenceServer.Cuda.Memory;
using InferenceServer.Cuda.Steps;
using InferenceServer.Cuda.Weights;
using InferenceServer.Tensors;

namespace InferenceServer.Cuda.Kernels;

/// <summary>
/// Launches the kernels of product.cuh for one weight format: fastest for up to 64 rows, and for more the same bits in tiles of 64. x is rounded
/// to bf16.
/// </summary>
internal sealed class TensorCoreProduct
{
    /// <summary>Rows of the largest tile.</summary>
    public const int TileRows = 64;

    private const int Threads = 256;
    private const int BlockOutputs = 128;
    private const int RecordInputs = 64;
    private const int GroupsOfBlock = 2;

    // Blocks wanted, about one for each multiprocessor of the largest devices. A constant, so that sums do not depend on the device.
    private const int WantedBlocks = 128;
    private const int MostParts = 8;

    // Tiles of a launch whose outputs are several blocks' sums, which bounds the memory for those.
    private const int MostTilesInParts = 4;

    private readonly KernelContext _context;
    private readonly (KernelFunction Function, int Stages)[] _kernels;
    private readonly ulong _arrived;

    /// <param name="context">What launchers share.</param>
    /// <param name="file">The format's file.</param>
    /// <param name="name">Name of its kernels without the tile's rows.</param>
    /// <param name="recordBytes">RECORD of the format.</param>
    /// <param name="workingBytes">Its own shared memory.</param>
    /// <param name="stages">STEP of the kernels for 8, 16, 32 and 64 rows, and the stages wanted.</param>
    /// <param name="mostSharedBytes">Shared memory of a block; where it is little, there are fewer stages.</param>
    /// <param name="arrived">Zeroed counters, one for each tile in parts: <see cref="CounterBytes"/>.</param>
    public TensorCoreProduct(
        KernelContext context,
        string file,
        string name,
        int recordBytes,
        int workingBytes,
        ReadOnlySpan<(int Step, int Stages)> stages,
        int mostSharedBytes,
        ulong arrived)
    {
        _context = context;
        _arrived = arrived;
        KernelModule module = context.Library[file];
        _kernels = new (KernelFunction, int)[stages.Length];
        for (int i = 0; i < stages.Length; i++)
        {
            int rows = 8 << i;
            (int step, int count) = stages[i];
            int stageBytes = GroupsOfBlock * step * recordBytes;
            int otherBytes = (2 * GroupsOfBlock * step * rows * RecordInputs * sizeof(ushort)) + workingBytes;
            count = Math.Clamp((mostSharedBytes - otherBytes) / stageBytes, 2, count);
            int sumBytes = GroupsOfBlock * rows * (BlockOutputs + 4) * sizeof(float);
            int sharedBytes = Math.Max((count * stageBytes) + otherBytes, sumBytes);
            _kernels[i] = (module.Function($"{name}_{rows}", Threads, sharedBytes), count);
        }
    }

    /// <summary>Bytes of the counters: there are less than <see cref="WantedBlocks"/> groups of outputs wherever parts are.</summary>
    public static long CounterBytes(int maxGraphRows) =>
        (long)WantedBlocks * Math.Max(MostTilesInParts, Grid.Cover(maxGraphRows, TileRows)) * sizeof(int);

    public void Run(TensorView x, CudaWeightMatrix weight, TensorView y)
    {
        RowCount rows = _context.Step.RowsOf(x.Rows);
        int blocks = Grid.Cover(weight.Rows, BlockOutputs);
        int records = Grid.Cover(weight.Columns, RecordInputs);
        int parts = PartsOf(blocks, records);
        int most = rows.Pointer != 0 || parts == 1 ? int.MaxValue : MostTilesInParts * TileRows;
        for (int first = 0; first < rows.Rows; first += Math.Min(most, rows.Rows))
        {
            RowCount some = rows with { Rows = Math.Min(most, rows.Rows - first) };
            Launch(x, weight, y, first, some, new Grid(blocks, parts), Grid.Cover(records, GroupsOfBlock * parts));
        }
    }

    // Of the matrix alone: what sums an output consists of must not depend on the rows.
    private static int PartsOf(int blocks, int records)
    {
        int parts = 1;
        while (parts < MostParts && blocks * parts < WantedBlocks && records >= 2 * parts * GroupsOfBlock)
        {
            parts *= 2;
        }

        return parts;
    }

    private void Launch(TensorView x, CudaWeightMatrix weight, TensorView y, int firstRow, RowCount rows, Grid grid, int slice)
    {
        int kernel = rows.Rows switch { <= 8 => 0, <= 16 => 1, <= 32 => 2, _ => 3 };
        int tiles = Grid.Cover(rows.Rows, 8 << kernel);
        long partBytes = grid.Y == 1 ? 0 : (long)grid.X * grid.Y * tiles * (8 << kernel) * BlockOutputs * sizeof(float);
        (KernelFunction function, int stages) = _kernels[kernel];
        _context.Queue.Launch(
            function,
            grid with { Z = tiles },
            weight.Address,
            weight.ScaleAddress,
            weight.Layout.Stride,
            CudaBuffer.AddressOf(x) + ((ulong)firstRow * (ulong)x.RowStride * sizeof(float)),
            x.RowStride,
            CudaBuffer.AddressOf(y) + ((ulong)firstRow * (ulong)y.RowStride * sizeof(float)),
            y.RowStride,
            weight.Rows,
            weight.Columns,
            slice,
            stages,
            partBytes == 0 ? 0UL : _context.Scratch.Take("sums of products in parts", partBytes),
            _arrived,
            rows.Pointer,
            rows.Rows);
    }
}
