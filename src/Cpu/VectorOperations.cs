using InferenceServer.Cpu.Emitted;
using InferenceServer.Cpu.Kernels;
using InferenceServer.Cpu.KeyValues;
using InferenceServer.Cpu.Memory;
using InferenceServer.Cpu.Simd;
using InferenceServer.Cpu.Steps;
using InferenceServer.Cpu.Threading;
using InferenceServer.Cpu.Weights;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Steps;

namespace InferenceServer.Cpu;

/// <summary>All operations for one vector width; holds one job of each kind, so that a call allocates nothing.</summary>
internal sealed unsafe class VectorOperations<TSimd, TVector> : CpuOperations
    where TSimd : struct, ISimd<TVector>
    where TVector : struct
{
    private readonly RowMap<TSimd, TVector, ScaleOperator<TSimd, TVector>> _scale;
    private readonly RowMap<TSimd, TVector, AddOperator<TSimd, TVector>> _add;
    private readonly RowMap<TSimd, TVector, SoftCapOperator<TSimd, TVector>> _softCap;
    private readonly RowMap<TSimd, TVector, ActivationOperator<TSimd, TVector>> _activate;
    private readonly RowMap<TSimd, TVector, SiluOperator<TSimd, TVector>> _silu;
    private readonly RmsNorm<TSimd, TVector> _rmsNorm;
    private readonly LayerNorm<TSimd, TVector> _layerNorm;
    private readonly MatMul<TSimd, TVector> _matMul;
    private readonly QuantizedMatMul<TSimd, TVector> _quantizedMatMul;
    private readonly TileMatMul? _tileMatMul;
    private readonly DotMatMul? _dotMatMul;
    private readonly IntegerMatMul? _integerMatMul;
    private readonly Rope<TSimd, TVector> _rope;
    private readonly PagedAttention<TSimd, TVector> _attention;
    private readonly ApplyAdapters<TSimd, TVector> _applyAdapters;
    private readonly ScaleInputs<TSimd, TVector> _scaleInputs;
    private readonly ApplyReplacedRows<TSimd, TVector> _applyReplacedRows;
    private readonly ApplyEmbeddingAdapters<TSimd, TVector> _applyEmbeddingAdapters;

    /// <param name="pool">Threads.</param>
    /// <param name="scratch">Their scratch memory.</param>
    /// <param name="step">The running step.</param>
    /// <param name="products">The emitted kernels to use; the vectors' where it has none.</param>
    public VectorOperations(WorkerPool pool, WorkerScratch scratch, StepState step, ProductChoice products)
    {
        _scale = new RowMap<TSimd, TVector, ScaleOperator<TSimd, TVector>>(pool);
        _add = new RowMap<TSimd, TVector, AddOperator<TSimd, TVector>>(pool);
        _softCap = new RowMap<TSimd, TVector, SoftCapOperator<TSimd, TVector>>(pool);
        _activate = new RowMap<TSimd, TVector, ActivationOperator<TSimd, TVector>>(pool);
        _silu = new RowMap<TSimd, TVector, SiluOperator<TSimd, TVector>>(pool);
        _rmsNorm = new RmsNorm<TSimd, TVector>(pool);
        _layerNorm = new LayerNorm<TSimd, TVector>(pool);
        _matMul = new MatMul<TSimd, TVector>(pool, scratch);
        _quantizedMatMul = new QuantizedMatMul<TSimd, TVector>(pool, scratch);
        _tileMatMul = products.Tiles is null ? null : new TileMatMul(pool, scratch, products.Tiles);
        _dotMatMul = products.BFloat16Dots is null ? null : new DotMatMul(pool, scratch, products.BFloat16Dots);
        _integerMatMul = products.IntegerDots is null ? null : new IntegerMatMul(pool, scratch, products.IntegerDots, products.Tiles);
        _rope = new Rope<TSimd, TVector>(pool, step);
        _attention = new PagedAttention<TSimd, TVector>(pool, scratch, step);
        _applyAdapters = new ApplyAdapters<TSimd, TVector>(pool, scratch);
        _scaleInputs = new ScaleInputs<TSimd, TVector>(pool, scratch);
        _applyReplacedRows = new ApplyReplacedRows<TSimd, TVector>(pool);
        _applyEmbeddingAdapters = new ApplyEmbeddingAdapters<TSimd, TVector>(pool, scratch, step);
    }

    public override int VectorBits => TSimd.Count * 32;

    public override void Dispose()
    {
        _attention.Dispose();
        _applyAdapters.Dispose();
        _matMul.Dispose();
        _quantizedMatMul.Dispose();
        _tileMatMul?.Dispose();
        _dotMatMul?.Dispose();
        _integerMatMul?.Dispose();
    }

    public override void Scale(float factor, TensorView y)
    {
        Rows rows = new(y);
        _scale.Run(new ScaleOperator<TSimd, TVector>(factor), rows, rows, rows, y.Rows, y.Columns);
    }

    public override void Add(TensorView x, TensorView y)
    {
        Rows rows = new(y);
        _add.Run(default, rows, new Rows(x), rows, y.Rows, y.Columns);
    }

    public override void AddBias(DeviceBuffer bias, TensorView y)
    {
        Rows rows = new(y);
        _add.Run(default, rows, new Rows(CpuBuffer.Of(bias).Pointer, 0), rows, y.Rows, y.Columns);
    }

    public override void SoftCap(float cap, TensorView y)
    {
        Rows rows = new(y);
        _softCap.Run(new SoftCapOperator<TSimd, TVector>(cap), rows, rows, rows, y.Rows, y.Columns);
    }

    public override void Activate(Activation activation, TensorView y)
    {
        Rows rows = new(y);
        Activate(activation, gated: false, rows, rows, y);
    }

    public override void GatedActivation(TensorView x, Activation activation, TensorView y)
    {
        Rows gates = new(x);
        Rows values = new(x.SliceColumns(y.Columns, y.Columns));
        Activate(activation, gated: true, gates, values, y);
    }

    public override void RmsNorm(TensorView x, DeviceBuffer weight, float offset, float epsilon, TensorView y) =>
        _rmsNorm.Run(new Rows(x), CpuBuffer.Of(weight).Pointer, offset, epsilon, new Rows(y), x.Rows, x.Columns);

    public override void LayerNorm(TensorView x, DeviceBuffer weight, DeviceBuffer? bias, float epsilon, TensorView y) => _layerNorm.Run(
        new Rows(x),
        CpuBuffer.Of(weight).Pointer,
        bias is null ? null : CpuBuffer.Of(bias).Pointer,
        epsilon,
        new Rows(y),
        x.Rows,
        x.Columns);

    public override void MatMul(TensorView x, CpuWeightMatrix weight, TensorView y)
    {
        if (weight.Quantized is { } panels)
        {
            if (_integerMatMul is not null)
            {
                _integerMatMul.Run(x, weight, panels, y);
            }
            else
            {
                _quantizedMatMul.Run(x, weight, panels, y);
            }
        }
        else if (weight.Format == WeightFormat.BF16 && _tileMatMul is not null)
        {
            _tileMatMul.Run(x, weight, y);
        }
        else if (weight.Format == WeightFormat.BF16 && _dotMatMul is not null)
        {
            _dotMatMul.Run(x, weight, y);
        }
        else
        {
            _matMul.Run(x, weight, y);
        }
    }

    public override void Rope(RopeTable table, int headSize, TensorView x) => _rope.Run(
        new Rows(x),
        CpuBuffer.Of(table.Cos).Pointer,
        CpuBuffer.Of(table.Sin).Pointer,
        table.RotarySize / 2,
        x.Columns / headSize,
        headSize,
        x.Rows);

    public override void PagedAttention(TensorView q, CpuKvCache cache, int layer, AttentionParameters parameters, TensorView y) =>
        _attention.Run(new Rows(q), cache, layer, parameters, new Rows(y));

    public override void ApplyAdapters(LoraBatch batch, ReadOnlySpan<ModuleColumns> modules, TensorView x, TensorView y) =>
        _applyAdapters.Run(batch, modules, x, y);

    public override void ScaleInputs(LoraBatch batch, int module, TensorView x, TensorView y) =>
        _scaleInputs.Run(batch, module, new Rows(x), new Rows(y), x.Rows, x.Columns);

    public override void ApplyReplacedRows(LoraBatch batch, int module, TensorView x, TensorView y) =>
        _applyReplacedRows.Run(batch, module, x, y);

    public override void ApplyEmbeddingAdapters(LoraBatch batch, int module, TensorView y) => _applyEmbeddingAdapters.Run(batch, module, y);

    private void Activate(Activation activation, bool gated, Rows gates, Rows values, TensorView y)
    {
        if (activation == Activation.Silu)
        {
            _silu.Run(new SiluOperator<TSimd, TVector>(gated), gates, values, new Rows(y), y.Rows, y.Columns);
        }
        else
        {
            _activate.Run(new ActivationOperator<TSimd, TVector>(activation, gated), gates, values, new Rows(y), y.Rows, y.Columns);
        }
    }
}
