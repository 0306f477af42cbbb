using InferenceServer.Tensors;
using InferenceServer.Tensors.Steps;

namespace InferenceServer.Cuda.Kernels;

/// <summary>The operations on adapters, and the tables that they share.</summary>
internal sealed class AdapterOperators : IDisposable
{
    private readonly KernelContext _context;
    private readonly AdapterTables _tables;
    private readonly ApplyAdapters _apply;
    private readonly ScaleInputs _scaleInputs;
    private readonly ApplyReplacedRows _applyReplacedRows;
    private readonly ApplyEmbeddingAdapters _applyToEmbeddings;

    public AdapterOperators(KernelContext context)
    {
        _context = context;
        _tables = new AdapterTables(context);
        _apply = new ApplyAdapters(context, _tables);
        _scaleInputs = new ScaleInputs(context, _tables);
        _applyReplacedRows = new ApplyReplacedRows(context, _tables);
        _applyToEmbeddings = new ApplyEmbeddingAdapters(context, _tables);
    }

    public void Apply(LoraBatch batch, ReadOnlySpan<ModuleColumns> modules, TensorView x, TensorView y) => _apply.Run(batch, modules, x, y);

    public void ScaleInputs(LoraBatch batch, int module, TensorView x, TensorView y) => _scaleInputs.Run(batch, module, x, y);

    public void ApplyReplacedRows(LoraBatch batch, int module, TensorView x, TensorView y) => _applyReplacedRows.Run(batch, module, x, y);

    public void ApplyToEmbeddings(int module, TensorView y)
    {
        _applyToEmbeddings.Run(_context.Step.Inputs.Restore, module, y);
        _applyToEmbeddings.Run(_context.Step.Inputs.Lora, module, y);
    }

    public void Dispose() => _tables.Dispose();
}
