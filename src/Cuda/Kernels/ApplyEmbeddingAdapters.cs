using InferenceServer.Cuda.Adapters;
using InferenceServer.Cuda.Compilation;
using InferenceServer.Cuda.Launching;
using InferenceServer.Cuda.Memory;
using InferenceServer.Cuda.Steps;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Adapters;
using InferenceServer.Tensors.Steps;

namespace InferenceServer.Cuda.Kernels;

/// <summary>Launches ApplyEmbeddingAdapters.cu.</summary>
internal sealed class ApplyEmbeddingAdapters
{
    private const int Threads = 256;

    private readonly KernelContext _context;
    private readonly AdapterTables _tables;
    private readonly KernelFunction _kernel;

    public ApplyEmbeddingAdapters(KernelContext context, AdapterTables tables)
    {
        _context = context;
        _tables = tables;
        _kernel = context.Library["ApplyEmbeddingAdapters.cu"].Function("apply_embedding_adapters", Threads);
    }

    /// <param name="batch">Of the step: its rows are the step's tokens.</param>
    /// <param name="module">The embedding.</param>
    /// <param name="y">Gathered rows.</param>
    public void Run(LoraBatch batch, int module, TensorView y)
    {
        bool any = false;
        foreach (ref readonly LoraEntry entry in batch.Entries)
        {
            if (CudaAdapter.Of(entry.Adapter).Part(module) is CudaPart part)
            {
                Validate(part, entry.Adapter, module, y.Columns);
                any = true;
            }
        }

        if (!any)
        {
            return;
        }

        LoraAddresses tables = _tables.Of(batch, y.Rows, out _);
        RowCount rows = _context.Step.RowsOf(y.Rows);
        _context.Queue.Launch(
            _kernel,
            new Grid(Grid.Cover(y.Columns, Threads), rows.Rows),
            tables.Rows,
            tables.Entries,
            module,
            _context.Step.Address(StepTable.Tokens),
            CudaBuffer.AddressOf(y),
            y.RowStride,
            y.Columns,
            rows.Pointer,
            rows.Rows);
    }

    private void Validate(CudaPart part, DeviceAdapter adapter, int module, int columns)
    {
        if (part.Blocks > 0)
        {
            throw new ArgumentException($"embedding module {module} of '{adapter.Label}' has a gate, and an embedding no input to weigh its blocks by");
        }

        int hidden = part.ReplacedColumns > 0 ? part.ReplacedColumns : part.Replacement?.Columns ?? part.OutFeatures;
        int vocabulary = part.Replacement?.Rows ?? (part.Rank > 0 ? part.InFeatures : int.MaxValue);
        (int max, int min) = _context.Step.TokenRange;
        if (hidden != columns || (part.Rank > 0 && part.OutFeatures != columns) || max >= vocabulary || min < 0)
        {
            throw new ArgumentException(
                $"embedding module {module} of '{adapter.Label}' is {vocabulary} tokens by {hidden}, y has {columns} columns and the step tokens {min}..{max}");
        }
    }
}
