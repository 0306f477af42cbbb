using InferenceServer.Cuda.Adapters;
using InferenceServer.Cuda.Compilation;
using InferenceServer.Cuda.Launching;
using InferenceServer.Cuda.Memory;
using InferenceServer.Cuda.Steps;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Steps;

namespace InferenceServer.Cuda.Kernels;

/// <summary>Launches ScaleInputs.cu.</summary>
internal sealed class ScaleInputs
{
    private const int Threads = 256;

    private readonly KernelContext _context;
    private readonly AdapterTables _tables;
    private readonly KernelFunction _kernel;

    public ScaleInputs(KernelContext context, AdapterTables tables)
    {
        _context = context;
        _tables = tables;
        _kernel = context.Library["ScaleInputs.cu"].Function("scale_inputs", Threads);
    }

    public void Run(LoraBatch batch, int module, TensorView x, TensorView y)
    {
        foreach (ref readonly LoraEntry entry in batch.Entries)
        {
            if (CudaAdapter.Of(entry.Adapter).Part(module) is { ScalesInput: true } part && part.InFeatures != x.Columns)
            {
                throw new ArgumentException($"scale of module {module} of '{entry.Adapter.Label}' has {part.InFeatures} values, the rows {x.Columns} columns");
            }
        }

        LoraAddresses tables = batch.Groups.IsEmpty ? default : _tables.Of(batch, x.Rows, out _);
        RowCount rows = _context.Step.RowsOf(x.Rows);
        _context.Queue.Launch(
            _kernel,
            new Grid(Grid.Cover(x.Columns, Threads), rows.Rows),
            tables.Rows,
            tables.Entries,
            module,
            CudaBuffer.AddressOf(x),
            x.RowStride,
            CudaBuffer.AddressOf(y),
            y.RowStride,
            x.Columns,
            rows.Pointer,
            rows.Rows);
    }
}
