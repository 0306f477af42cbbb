using System.Diagnostics;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Adapters;
using InferenceServer.Tensors.Steps;

namespace InferenceServer.Benchmarks.Step;

/// <summary>Takes the time of each operation of the backend beneath, which must be done when a call returns, as the CPU's is.</summary>
internal sealed class TimedBackend : IComputeBackend
{
    private readonly IComputeBackend _inner;
    private readonly Dictionary<string, double> _seconds = [];

    public TimedBackend(IComputeBackend inner) => _inner = inner;

    public string Name => _inner.Name;

    public string Description => _inner.Description;

    /// <summary>Seconds since the last call, by operation.</summary>
    public Dictionary<string, double> Take()
    {
        Dictionary<string, double> taken = new(_seconds);
        _seconds.Clear();
        return taken;
    }

    public long? FreeMemory => _inner.FreeMemory;

    public DeviceBuffer Allocate(long byteCount, string label) => _inner.Allocate(byteCount, label);

    public void Write(ReadOnlySpan<float> source, DeviceBuffer target) => _inner.Write(source, target);

    public void Read(TensorView source, Span<float> destination)
    {
        long start = Stopwatch.GetTimestamp();
        _inner.Read(source, destination);
        Count(nameof(Read), start);
    }

    public WeightMatrix CreateMatrix(int rows, int columns, WeightFormat format, string label, WeightRowReader reader) => _inner.CreateMatrix(rows, columns, format, label, reader);

    public void ReadMatrix(WeightMatrix matrix, int firstRow, Span<float> destination) => _inner.ReadMatrix(matrix, firstRow, destination);

    public bool AreIdentical(WeightMatrix left, WeightMatrix right) => _inner.AreIdentical(left, right);

    public DeviceAdapter CreateAdapter(AdapterWeights weights, WeightFormat format) => _inner.CreateAdapter(weights, format);

    public bool RoundsInputs(WeightFormat weights) => _inner.RoundsInputs(weights);

    public WeightFormat KeyValueFormat => _inner.KeyValueFormat;

    public KvCache CreateKvCache(KvCacheShape shape) => _inner.CreateKvCache(shape);

    public void BeginStep(StepInputs step)
    {
        long start = Stopwatch.GetTimestamp();
        _inner.BeginStep(step);
        Count(nameof(BeginStep), start);
    }

    public void AbandonStep() => _inner.AbandonStep();

    public void Embed(WeightMatrix table, TensorView y)
    {
        long start = Stopwatch.GetTimestamp();
        _inner.Embed(table, y);
        Count(nameof(Embed), start);
    }

    public void AddPositions(WeightMatrix table, TensorView y)
    {
        long start = Stopwatch.GetTimestamp();
        _inner.AddPositions(table, y);
        Count(nameof(AddPositions), start);
    }

    public void ApplyEmbeddingAdapters(int module, TensorView y)
    {
        long start = Stopwatch.GetTimestamp();
        _inner.ApplyEmbeddingAdapters(module, y);
        Count(nameof(ApplyEmbeddingAdapters), start);
    }

    public void Scale(float factor, TensorView y)
    {
        long start = Stopwatch.GetTimestamp();
        _inner.Scale(factor, y);
        Count(nameof(Scale), start);
    }

    public void RmsNorm(TensorView x, DeviceBuffer weight, float offset, float epsilon, TensorView y)
    {
        long start = Stopwatch.GetTimestamp();
        _inner.RmsNorm(x, weight, offset, epsilon, y);
        Count(nameof(RmsNorm), start);
    }

    public void LayerNorm(TensorView x, DeviceBuffer weight, DeviceBuffer? bias, float epsilon, TensorView y)
    {
        long start = Stopwatch.GetTimestamp();
        _inner.LayerNorm(x, weight, bias, epsilon, y);
        Count(nameof(LayerNorm), start);
    }

    public void MatMul(TensorView x, WeightMatrix weight, TensorView y)
    {
        long start = Stopwatch.GetTimestamp();
        _inner.MatMul(x, weight, y);
        Count(nameof(MatMul), start);
    }

    public void ApplyAdapters(LoraBatch batch, ReadOnlySpan<ModuleColumns> modules, TensorView x, TensorView y)
    {
        long start = Stopwatch.GetTimestamp();
        _inner.ApplyAdapters(batch, modules, x, y);
        Count(nameof(ApplyAdapters), start);
    }

    public void ScaleInputs(LoraBatch batch, int module, TensorView x, TensorView y)
    {
        long start = Stopwatch.GetTimestamp();
        _inner.ScaleInputs(batch, module, x, y);
        Count(nameof(ScaleInputs), start);
    }

    public void ApplyReplacedRows(LoraBatch batch, int module, TensorView x, TensorView y)
    {
        long start = Stopwatch.GetTimestamp();
        _inner.ApplyReplacedRows(batch, module, x, y);
        Count(nameof(ApplyReplacedRows), start);
    }

    public void AddBias(DeviceBuffer bias, TensorView y)
    {
        long start = Stopwatch.GetTimestamp();
        _inner.AddBias(bias, y);
        Count(nameof(AddBias), start);
    }

    public void Add(TensorView x, TensorView y)
    {
        long start = Stopwatch.GetTimestamp();
        _inner.Add(x, y);
        Count(nameof(Add), start);
    }

    public void Rope(RopeTable table, int headSize, TensorView x)
    {
        long start = Stopwatch.GetTimestamp();
        _inner.Rope(table, headSize, x);
        Count(nameof(Rope), start);
    }

    public void StoreKv(TensorView k, TensorView v, KvCache cache, int layer)
    {
        long start = Stopwatch.GetTimestamp();
        _inner.StoreKv(k, v, cache, layer);
        Count(nameof(StoreKv), start);
    }

    public void PagedAttention(TensorView q, KvCache cache, int layer, AttentionParameters parameters, TensorView y)
    {
        long start = Stopwatch.GetTimestamp();
        _inner.PagedAttention(q, cache, layer, parameters, y);
        Count(nameof(PagedAttention), start);
    }

    public void GatedActivation(TensorView x, Activation activation, TensorView y)
    {
        long start = Stopwatch.GetTimestamp();
        _inner.GatedActivation(x, activation, y);
        Count(nameof(GatedActivation), start);
    }

    public void Activate(Activation activation, TensorView y)
    {
        long start = Stopwatch.GetTimestamp();
        _inner.Activate(activation, y);
        Count(nameof(Activate), start);
    }

    public void GatherSampledRows(TensorView x, TensorView y)
    {
        long start = Stopwatch.GetTimestamp();
        _inner.GatherSampledRows(x, y);
        Count(nameof(GatherSampledRows), start);
    }

    public void SoftCap(float cap, TensorView y)
    {
        long start = Stopwatch.GetTimestamp();
        _inner.SoftCap(cap, y);
        Count(nameof(SoftCap), start);
    }

    public void Dispose() => _inner.Dispose();

    private void Count(string operation, long start) =>
        _seconds[operation] = _seconds.GetValueOrDefault(operation) + Stopwatch.GetElapsedTime(start).TotalSeconds;
}
