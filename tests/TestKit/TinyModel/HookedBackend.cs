using InferenceServer.Tensors;
using InferenceServer.Tensors.Adapters;
using InferenceServer.Tensors.Steps;

namespace InferenceServer.TestKit.TinyModel;

/// <summary>A backend that lets a test look in, wait or fail at the doors that matter; all else is the inner backend's.</summary>
public class HookedBackend : IComputeBackend
{
    public HookedBackend(IComputeBackend inner) => Inner = inner;

    public IComputeBackend Inner { get; }

    /// <summary>Called on the loop's thread before each step.</summary>
    public Action<StepInputs>? OnBeginStep { get; set; }

    /// <summary>Called when a step is given up.</summary>
    public Action? OnAbandonStep { get; set; }

    /// <summary>Called with what was read, which it may change.</summary>
    public SpanAction? OnRead { get; set; }

    /// <summary>Called before a matrix is packed.</summary>
    public Action<string>? OnCreateMatrix { get; set; }

    /// <summary>Packs matrices in place of the backend beneath.</summary>
    public Func<int, int, WeightFormat, string, WeightRowReader, WeightMatrix>? PackMatrix { get; set; }

    /// <summary>Called before an adapter is made resident.</summary>
    public Action<string>? OnCreateAdapter { get; set; }

    public delegate void SpanAction(Span<float> values);

    public string Name => Inner.Name;

    public string Description => Inner.Description;

    public void BeginStep(StepInputs step)
    {
        OnBeginStep?.Invoke(step);
        Inner.BeginStep(step);
    }

    public void AbandonStep()
    {
        OnAbandonStep?.Invoke();
        Inner.AbandonStep();
    }

    public void Read(TensorView source, Span<float> destination)
    {
        Inner.Read(source, destination);
        OnRead?.Invoke(destination);
    }

    public WeightMatrix CreateMatrix(int rows, int columns, WeightFormat format, string label, WeightRowReader reader)
    {
        OnCreateMatrix?.Invoke(label);
        return PackMatrix is { } pack ? pack(rows, columns, format, label, reader) : Inner.CreateMatrix(rows, columns, format, label, reader);
    }

    public DeviceAdapter CreateAdapter(AdapterWeights weights, WeightFormat format)
    {
        ArgumentNullException.ThrowIfNull(weights);
        OnCreateAdapter?.Invoke(weights.Label);
        return Inner.CreateAdapter(weights, format);
    }

    public long? FreeMemory => Inner.FreeMemory;

    public DeviceBuffer Allocate(long byteCount, string label) => Inner.Allocate(byteCount, label);

    public void Write(ReadOnlySpan<float> source, DeviceBuffer target) => Inner.Write(source, target);

    public void ReadMatrix(WeightMatrix matrix, int firstRow, Span<float> destination) => Inner.ReadMatrix(matrix, firstRow, destination);

    public bool AreIdentical(WeightMatrix left, WeightMatrix right) => Inner.AreIdentical(left, right);

    public bool RoundsInputs(WeightFormat weights) => Inner.RoundsInputs(weights);

    public WeightFormat KeyValueFormat => Inner.KeyValueFormat;

    public KvCache CreateKvCache(KvCacheShape shape) => Inner.CreateKvCache(shape);

    public void Embed(WeightMatrix table, TensorView y) => Inner.Embed(table, y);

    public void AddPositions(WeightMatrix table, TensorView y) => Inner.AddPositions(table, y);

    public void ApplyEmbeddingAdapters(int module, TensorView y) => Inner.ApplyEmbeddingAdapters(module, y);

    public void Scale(float factor, TensorView y) => Inner.Scale(factor, y);

    public void RmsNorm(TensorView x, DeviceBuffer weight, float offset, float epsilon, TensorView y) => Inner.RmsNorm(x, weight, offset, epsilon, y);

    public void LayerNorm(TensorView x, DeviceBuffer weight, DeviceBuffer? bias, float epsilon, TensorView y) => Inner.LayerNorm(x, weight, bias, epsilon, y);

    public void MatMul(TensorView x, WeightMatrix weight, TensorView y) => Inner.MatMul(x, weight, y);

    public void ApplyAdapters(LoraBatch batch, ReadOnlySpan<ModuleColumns> modules, TensorView x, TensorView y) =>
        Inner.ApplyAdapters(batch, modules, x, y);

    public void ScaleInputs(LoraBatch batch, int module, TensorView x, TensorView y) => Inner.ScaleInputs(batch, module, x, y);

    public void ApplyReplacedRows(LoraBatch batch, int module, TensorView x, TensorView y) => Inner.ApplyReplacedRows(batch, module, x, y);

    public void AddBias(DeviceBuffer bias, TensorView y) => Inner.AddBias(bias, y);

    public void Add(TensorView x, TensorView y) => Inner.Add(x, y);

    public void Rope(RopeTable table, int headSize, TensorView x) => Inner.Rope(table, headSize, x);

    public void StoreKv(TensorView k, TensorView v, KvCache cache, int layer) => Inner.StoreKv(k, v, cache, layer);

    public void PagedAttention(TensorView q, KvCache cache, int layer, AttentionParameters parameters, TensorView y) => Inner.PagedAttention(q, cache, layer, parameters, y);

    public void GatedActivation(TensorView x, Activation activation, TensorView y) => Inner.GatedActivation(x, activation, y);

    public void Activate(Activation activation, TensorView y) => Inner.Activate(activation, y);

    public void GatherSampledRows(TensorView x, TensorView y) => Inner.GatherSampledRows(x, y);

    public void SoftCap(float cap, TensorView y) => Inner.SoftCap(cap, y);

    public void Dispose()
    {
        Inner.Dispose();
        GC.SuppressFinalize(this);
    }
}
