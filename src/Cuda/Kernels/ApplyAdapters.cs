using System.Numerics;
using InferenceServer.Cuda.Adapters;
using InferenceServer.Cuda.Compilation;
using InferenceServer.Cuda.Launching;
using InferenceServer.Cuda.Memory;
using InferenceServer.Cuda.Steps;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Adapters;
using InferenceServer.Tensors.Steps;

namespace InferenceServer.Cuda.Kernels;

/// <summary>
/// Launches ApplyAdapters.cu: h = A x of all modules in one launch, y += B h in another, gates between them; and ApplyAdapterTiles.cu for rows in
/// tiles. In a step of decodes the launches depend on the number of rows and the modules only.
/// </summary>
internal sealed class ApplyAdapters
{
    /// <summary>Modules of a launch.</summary>
    private const int MaxModules = 4;

    private const int TableArgument = 2;
    private const int SharedArguments = 7 + (3 * MaxModules);
    private const int ExpandColumns = 512;
    private const int DotsOfTile = 16;
    private const int TileColumns = 128;
    private const int MaxBlocksPerRow = 16;

    private readonly KernelContext _context;
    private readonly AdapterTables _tables;
    private readonly KernelFunction _shrink;
    private readonly KernelFunction _gate;
    private readonly KernelFunction _expand;
    private readonly KernelFunction _shrinkTiles;
    private readonly KernelFunction _expandTiles;
    private readonly ModuleColumns[] _modules = new ModuleColumns[MaxModules];
    private readonly KernelArgument[] _arguments = new KernelArgument[SharedArguments + 4];
    private int _dotCapacity = 256; // rank 64 on four modules

    /// <summary>What adapters change of some modules.</summary>
    [Flags]
    private enum Use
    {
        None = 0,
        Output = 1,
        LowRank = 2,
        Gate = 4,
    }

    public ApplyAdapters(KernelContext context, AdapterTables tables)
    {
        _context = context;
        _tables = tables;
        KernelModule module = context.Library["ApplyAdapters.cu"];
        _shrink = module.Function("adapter_shrink", 256);
        _gate = module.Function("adapter_gate", RankGate.MaxBlocks);
        _expand = module.Function("adapter_expand", 128);
        KernelModule tiles = context.Library["ApplyAdapterTiles.cu"];
        _shrinkTiles = tiles.Function("adapter_shrink_tiles", 128);
        _expandTiles = tiles.Function("adapter_expand_tiles", TileColumns);
    }

    public void Run(LoraBatch batch, ReadOnlySpan<ModuleColumns> modules, TensorView x, TensorView y)
    {
        if (batch.Groups.IsEmpty || x.Rows == 0)
        {
            return;
        }

        foreach (ref readonly ModuleColumns columns in modules)
        {
            Validate(batch, columns, x);
        }

        LoraAddresses tables = _tables.Of(batch, x.Rows, out bool isOfStep);
        bool isFixed = isOfStep && _context.Step.IsGraphStep;
        int count = 0;
        Use use = Use.None;
        foreach (ref readonly ModuleColumns columns in modules)
        {
            Use own = isFixed ? UseOf(columns.Module) : UseOf(batch, columns.Module);
            if ((own & Use.Output) == 0 || columns.ColumnCount == 0)
            {
                continue;
            }

            use |= own;
            _modules[count++] = columns;
            if (count == MaxModules)
            {
                Launch(batch, tables, count, use, x, y);
                count = 0;
                use = Use.None;
            }
        }

        if (count > 0)
        {
            Launch(batch, tables, count, use, x, y);
        }
    }

    private static void Validate(LoraBatch batch, in ModuleColumns columns, TensorView x)
    {
        foreach (ref readonly LoraEntry entry in batch.Entries)
        {
            CudaPart? part = CudaAdapter.Of(entry.Adapter).Part(columns.Module);
            if (part is null)
            {
                continue;
            }

            if (part.OutFeatures != 0 && part.OutFeatures != columns.ColumnCount)
            {
                throw new ArgumentException(
                    $"module {columns.Module} of '{entry.Adapter.Label}' has {part.OutFeatures} outputs, y has {columns.ColumnCount} columns");
            }

            if (part.Rank > 0 && part.InFeatures != x.Columns)
            {
                throw new ArgumentException($"module {columns.Module} of '{entry.Adapter.Label}' has {part.InFeatures} inputs, x has {x.Columns} columns");
            }
        }
    }

    private static Use UseOf(LoraBatch batch, int module)
    {
        Use use = Use.None;
        foreach (ref readonly LoraEntry entry in batch.Entries)
        {
            if (CudaAdapter.Of(entry.Adapter).Part(module) is CudaPart part)
            {
                use |= (part.ChangesOutput ? Use.Output : 0) | (part.DotCount > 0 ? Use.LowRank : 0) | (part.Blocks > 0 ? Use.Gate : 0);
            }
        }

        return use;
    }

    private Use UseOf(int module)
    {
        ModuleUse use = _context.Machine.Adapters.Use;
        return (use.ChangesOutput(module) ? Use.Output : 0) | (use.HasLowRank(module) ? Use.LowRank : 0) | (use.HasGate(module) ? Use.Gate : 0);
    }

    /// <summary>Most dot products that a row of any group has.</summary>
    private static int DotsOfRow(LoraBatch batch, ReadOnlySpan<ModuleColumns> modules)
    {
        int most = 0;
        foreach (ref readonly LoraGroup group in batch.Groups)
        {
            int dots = 0;
            foreach (ref readonly LoraEntry entry in batch.EntriesOf(group))
            {
                foreach (ref readonly ModuleColumns columns in modules)
                {
                    dots += CudaAdapter.Of(entry.Adapter).Part(columns.Module)?.DotCount ?? 0;
                }
            }

            most = Math.Max(most, dots);
        }

        return most;
    }

    private void Launch(LoraBatch batch, LoraAddresses tables, int count, Use use, TensorView x, TensorView y)
    {
        ReadOnlySpan<ModuleColumns> modules = _modules.AsSpan(0, count);
        int dots = DotsOfRow(batch, modules);

        // Only ever more, so that launches stay the same while adapters come and go.
        _dotCapacity = Math.Max(_dotCapacity, (int)BitOperations.RoundUpToPowerOf2((uint)dots));
        RowCount rows = _context.Step.RowsOf(x.Rows);
        ulong h = _context.Scratch.Take("adapters' h", (long)rows.Rows * _dotCapacity * sizeof(float));
        SetArguments(tables, rows, h, modules);
        if (tables.LooseRows > 0)
        {
            LaunchRows(rows.Rows, modules, use, x, y);
        }

        if (tables.TileCount > 0)
        {
            _arguments[TableArgument] = tables.Tiles;
            if (dots > 0)
            {
                Grid units = new(Grid.Cover(dots, DotsOfTile), tables.TileCount);
                Launch(_shrinkTiles, units, CudaBuffer.AddressOf(x), x.RowStride, x.Columns);
            }

            Launch(_expandTiles, new Grid(PiecesOf(modules, TileColumns), tables.TileCount), CudaBuffer.AddressOf(y), y.RowStride);
        }
    }

    private void LaunchRows(int rows, ReadOnlySpan<ModuleColumns> modules, Use use, TensorView x, TensorView y)
    {
        if ((use & Use.LowRank) != 0)
        {
            int blocks = Math.Clamp(Grid.Cover(4L * _context.Device.Multiprocessors, rows), 1, MaxBlocksPerRow);
            Launch(_shrink, new Grid(blocks, rows), CudaBuffer.AddressOf(x), x.RowStride, x.Columns);
        }

        if ((use & Use.Gate) != 0)
        {
            Launch(_gate, new Grid(1, rows));
        }

        Launch(_expand, new Grid(PiecesOf(modules, ExpandColumns), rows), CudaBuffer.AddressOf(y), y.RowStride);
    }

    private static int PiecesOf(ReadOnlySpan<ModuleColumns> modules, int width)
    {
        int pieces = 0;
        foreach (ref readonly ModuleColumns module in modules)
        {
            pieces += Grid.Cover(module.ColumnCount, width);
        }

        return pieces;
    }

    // ADAPTER_PARAMETERS of adapters.cuh; modules that are not there have no columns.
    private void SetArguments(LoraAddresses tables, RowCount rows, ulong h, ReadOnlySpan<ModuleColumns> modules)
    {
        Array.Clear(_arguments);
        _arguments[0] = rows.Pointer;
        _arguments[1] = rows.Rows;
        _arguments[TableArgument] = tables.Rows;
        _arguments[3] = tables.Entries;
        _arguments[4] = h;
        _arguments[5] = _dotCapacity;
        _arguments[6] = modules.Length;
        Span<KernelArgument> columns = _arguments.AsSpan(7);
        for (int i = 0; i < modules.Length; i++)
        {
            columns[i] = modules[i].Module;
            columns[MaxModules + i] = modules[i].FirstColumn;
            columns[(2 * MaxModules) + i] = modules[i].ColumnCount;
        }
    }

    private void Launch(KernelFunction kernel, Grid grid, params ReadOnlySpan<KernelArgument> own)
    {
        own.CopyTo(_arguments.AsSpan(SharedArguments));
        _context.Queue.Launch(kernel, grid, _arguments.AsSpan(0, SharedArguments + own.Length));
    }
}
