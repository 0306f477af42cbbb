using InferenceServer.Cuda.Adapters;
using InferenceServer.Cuda.Compilation;
using InferenceServer.Cuda.Launching;
using InferenceServer.Cuda.Memory;
using InferenceServer.Cuda.Steps;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Steps;

namespace InferenceServer.Cuda.Kernels;

/// <summary>Launches ApplyReplacedRows.cu.</summary>
internal sealed class ApplyReplacedRows
{
    // Replaced tokens are tens: 64 warps have one or two each.
    private const int BlocksPerRow = 8;

    private readonly KernelContext _context;
    private readonly AdapterTables _tables;
    private readonly KernelFunction _kernel;

    public ApplyReplacedRows(KernelContext context, AdapterTables tables)
    {
        _context = context;
        _tables = tables;
        _kernel = context.Library["ApplyReplacedRows.cu"].Function("apply_replaced_rows", 256);
    }

    public void Run(LoraBatch batch, int module, TensorView x, TensorView y)
    {
        bool any = false;
        foreach (ref readonly LoraEntry entry in batch.Entries)
        {
            CudaPart? part = CudaAdapter.Of(entry.Adapter).Part(module);
            if (part is not { ReplacedColumns: > 0 })
            {
                continue;
            }

            any = true;
            if (part.ReplacedColumns != x.Columns || part.LargestReplacedToken >= y.Columns)
            {
                throw new ArgumentException(
                    $"replaced rows of module {module} of '{entry.Adapter.Label}' have {part.ReplacedColumns} columns and tokens up to "
                    + $"{part.LargestReplacedToken}, x has {x.Columns} columns and y {y.Columns}");
            }
        }

        if (!any)
        {
            return;
        }

        LoraAddresses tables = _tables.Of(batch, x.Rows, out _);
        RowCount rows = _context.Step.RowsOf(x.Rows);
        _context.Queue.Launch(
            _kernel,
            new Grid(BlocksPerRow, rows.Rows),
            tables.Rows,
            tables.Entries,
            module,
            CudaBuffer.AddressOf(x),
            x.RowStride,
            x.Columns,
            CudaBuffer.AddressOf(y),
            y.RowStride,
            rows.Pointer,
            rows.Rows);
    }
}
