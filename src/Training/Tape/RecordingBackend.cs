using InferenceServer.Tensors;
using InferenceServer.Tensors.Adapters;
using InferenceServer.Tensors.Steps;
using InferenceServer.Training.Methods;

namespace InferenceServer.Training.Tape;

/// <summary>
/// A backend that remembers: each operation of the forward is done by the backend beneath, and how to go back through it is put on the
/// tape. So the model's forward is written once, for serving and for training. Trained weights and adapters, which a serving backend keeps
/// packed, are multiplied from their parameters.
/// </summary>
internal sealed class RecordingBackend : IComputeBackend
{
    private readonly IComputeBackend _inner;
    private readonly GradientTape _tape;
    private readonly ITrainingBackend _operations;
    private readonly TrainedWeights _trained;
    private StepInputs? _step;
    private (TensorView K, TensorView V) _stored;

    public RecordingBackend(IComputeBackend inner, GradientTape tape, TrainedWeights trained)
    {
        _inner = inner;
        _tape = tape;
        _operations = tape.Operations;
        _trained = trained;
    }

    public string Name => _inner.Name;

    public string Description => _inner.Description;

    /// <summary>Bytes of the buffers and caches that it was asked for.</summary>
    public long TakenBytes { get; private set; }

    private StepInputs Step => _step ?? throw new InvalidOperationException("no step has begun");

    public long? FreeMemory => _inner.FreeMemory;

    public DeviceBuffer Allocate(long byteCount, string label)
    {
        DeviceBuffer buffer = _inner.Allocate(byteCount, label);
        TakenBytes += byteCount;
        return buffer;
    }

    public void Write(ReadOnlySpan<float> source, DeviceBuffer target) => _inner.Write(source, target);

    public void Read(TensorView source, Span<float> destination) => _inner.Read(source, destination);

    public WeightMatrix CreateMatrix(int rows, int columns, WeightFormat format, string label, WeightRowReader reader) =>
        _inner.CreateMatrix(rows, columns, format, label, reader);

    public void ReadMatrix(WeightMatrix matrix, int firstRow, Span<float> destination) => _inner.ReadMatrix(matrix, firstRow, destination);

    public bool AreIdentical(WeightMatrix left, WeightMatrix right) => _inner.AreIdentical(left, right);

    public DeviceAdapter CreateAdapter(AdapterWeights weights, WeightFormat format) => _inner.CreateAdapter(weights, format);

    public bool RoundsInputs(WeightFormat weights) => _inner.RoundsInputs(weights);

    public WeightFormat KeyValueFormat => _inner.KeyValueFormat;

    public KvCache CreateKvCache(KvCacheShape shape)
    {
        KvCache cache = _inner.CreateKvCache(shape);
        TakenBytes += cache.ByteCount;
        return cache;
    }

    public void BeginStep(StepInputs step)
    {
        _step = step;
        _inner.BeginStep(step);
    }

    public void AbandonStep() => _inner.AbandonStep();

    public void Embed(WeightMatrix table, TensorView y)
    {
        if (_trained.Find(table) is { } parameter)
        {
            _operations.GatherRows(parameter.Value, Step.Tokens, y);
        }
        else
        {
            _inner.Embed(table, y);
        }

        Overwrote(y, dy =>
        {
            if (_trained.Find(table) is { } trained)
            {
                _operations.ScatterRows(dy, Step.Tokens, trained.Gradient);
            }
        });
    }

    public void AddPositions(WeightMatrix table, TensorView y)
    {
        if (_trained.Find(table) is not { } parameter)
        {
            _inner.AddPositions(table, y);
            _tape.Changed(y);
            return;
        }

        TensorView rows = _tape.Take(y.Rows, y.Columns);
        _operations.GatherRows(parameter.Value, Step.Positions, rows);
        _inner.Add(rows, y);
        Record(y, dy => _operations.ScatterRows(dy, Step.Positions, parameter.Gradient));
    }

    public void ApplyEmbeddingAdapters(int module, TensorView y)
    {
        foreach (ref readonly LoraGroup group in Step.Lora.Groups)
        {
            int[] tokens = Step.Tokens.Slice(group.FirstRow, group.RowCount).ToArray();
            foreach (ref readonly LoraEntry entry in Step.Lora.EntriesOf(group))
            {
                TrainedAdapter.Of(entry).Module(module)?.ApplyToEmbedding(_tape, tokens, y.SliceRows(group.FirstRow, group.RowCount));
            }
        }
    }

    public void Scale(float factor, TensorView y)
    {
        _inner.Scale(factor, y);
        Record(y, dy => _inner.Scale(factor, dy));
    }

    public void RmsNorm(TensorView x, DeviceBuffer weight, float offset, float epsilon, TensorView y)
    {
        Parameter? parameter = _trained.Find(weight);
        DeviceBuffer used = parameter?.ValueBuffer ?? weight;
        TensorView kept = _tape.IsRecording ? _tape.Keep(x) : x;
        _inner.RmsNorm(x, used, offset, epsilon, y);
        RecordNorm(x, y, (dy, dx) => _operations.RmsNormBackward(kept, used, offset, epsilon, dy, dx, parameter?.Gradient));
    }

    public void LayerNorm(TensorView x, DeviceBuffer weight, DeviceBuffer? bias, float epsilon, TensorView y)
    {
        Parameter? parameter = _trained.Find(weight);
        Parameter? biasParameter = bias is null ? null : _trained.Find(bias);
        DeviceBuffer used = parameter?.ValueBuffer ?? weight;
        TensorView kept = _tape.IsRecording ? _tape.Keep(x) : x;
        _inner.LayerNorm(x, used, biasParameter?.ValueBuffer ?? bias, epsilon, y);
        RecordNorm(
            x, y, (dy, dx) => _operations.LayerNormBackward(kept, used, epsilon, dy, dx, parameter?.Gradient, biasParameter?.Gradient));
    }

    public void MatMul(TensorView x, WeightMatrix weight, TensorView y)
    {
        Parameter? parameter = _trained.Find(weight);
        TensorView kept = parameter is not null && _tape.IsRecording ? _tape.Keep(x) : x;
        if (parameter is null)
        {
            _inner.MatMul(x, weight, y);
        }
        else
        {
            _operations.MultiplyTransposed(1f, x, parameter.Value, y, add: false);
        }

        Overwrote(y, dy =>
        {
            TensorView dx = _tape.GradientOf(x);
            if (parameter is null)
            {
                _operations.MatMulBackward(dy, weight, dx);
            }
            else
            {
                _operations.Multiply(1f, dy, parameter.Value, dx, add: true);
                _operations.AddTransposedProduct(1f, dy, kept, parameter.Gradient);
            }
        });
    }

    public void ApplyAdapters(LoraBatch batch, ReadOnlySpan<ModuleColumns> modules, TensorView x, TensorView y)
    {
        foreach (ModuleColumns columns in modules)
        {
            foreach (ref readonly LoraGroup group in batch.Groups)
            {
                TensorView input = x.SliceRows(group.FirstRow, group.RowCount);
                TensorView output = y.SliceColumns(columns.FirstColumn, columns.ColumnCount).SliceRows(group.FirstRow, group.RowCount);
                foreach (ref readonly LoraEntry entry in batch.EntriesOf(group))
                {
                    TrainedAdapter.Of(entry).Module(columns.Module)?.Apply(_tape, input, output);
                }
            }
        }
    }

    public void ScaleInputs(LoraBatch batch, int module, TensorView x, TensorView y)
    {
        if (!AreSame(x, y))
        {
            _operations.Copy(x, y);
            Overwrote(y, dy => _operations.AddScaled(1f, dy, _tape.GradientOf(x)));
        }

        foreach (ref readonly LoraGroup group in batch.Groups)
        {
            foreach (ref readonly LoraEntry entry in batch.EntriesOf(group))
            {
                TrainedAdapter.Of(entry).Module(module)?.ScaleInput(_tape, y.SliceRows(group.FirstRow, group.RowCount));
            }
        }
    }

    public void ApplyReplacedRows(LoraBatch batch, int module, TensorView x, TensorView y)
    {
        // No trained adapter replaces single token rows, so there is nothing to apply.
    }

    public void AddBias(DeviceBuffer bias, TensorView y)
    {
        Parameter? parameter = _trained.Find(bias);
        _inner.AddBias(parameter?.ValueBuffer ?? bias, y);
        _tape.Changed(y);
        if (parameter is not null)
        {
            Record(y, dy => _operations.AddColumnSums(dy, null, parameter.Gradient));
        }
    }

    public void Add(TensorView x, TensorView y)
    {
        _inner.Add(x, y);
        Record(y, dy => _operations.AddScaled(1f, dy, _tape.GradientOf(x)));
    }

    public void Rope(RopeTable table, int headSize, TensorView x)
    {
        _inner.Rope(table, headSize, x);
        Record(x, dx => _operations.RopeBackward(table, headSize, Step.Positions, dx));
    }

    public void StoreKv(TensorView k, TensorView v, KvCache cache, int layer)
    {
        // One layer's cache is enough: whole sequences are computed at once, and the backward pass has its own copies.
        _inner.StoreKv(k, v, cache, 0);
        _stored = (k, v);
    }

    public void PagedAttention(TensorView q, KvCache cache, int layer, AttentionParameters parameters, TensorView y)
    {
        _inner.PagedAttention(q, cache, 0, parameters, y);
        _tape.Changed(y);
        if (!_tape.IsRecording)
        {
            return;
        }

        (TensorView k, TensorView v) = _stored;
        (TensorView keptQ, TensorView keptK, TensorView keptV) = (_tape.Keep(q), _tape.Keep(k), _tape.Keep(v));
        Overwrote(y, dy => _operations.AttentionBackward(
            keptQ, keptK, keptV, Step.Sequences, parameters, dy, _tape.GradientOf(q), _tape.GradientOf(k), _tape.GradientOf(v)));
    }

    public void GatedActivation(TensorView x, Activation activation, TensorView y)
    {
        TensorView kept = _tape.IsRecording ? _tape.Keep(x) : x;
        _inner.GatedActivation(x, activation, y);
        Overwrote(y, dy => _operations.GatedActivationBackward(kept, activation, dy, _tape.GradientOf(x)));
    }

    public void Activate(Activation activation, TensorView y)
    {
        TensorView kept = _tape.IsRecording ? _tape.Keep(y) : y;
        _inner.Activate(activation, y);
        Record(y, dy => _operations.ActivationBackward(kept, activation, dy));
    }

    public void GatherSampledRows(TensorView x, TensorView y)
    {
        _inner.GatherSampledRows(x, y);
        Overwrote(y, dy => _operations.ScatterRows(dy, Step.SampledRows, _tape.GradientOf(x)));
    }

    public void SoftCap(float cap, TensorView y)
    {
        _inner.SoftCap(cap, y);
        _tape.Changed(y);
        if (_tape.IsRecording)
        {
            TensorView kept = _tape.Keep(y);
            Record(y, dy => _operations.SoftCapBackward(kept, cap, dy));
        }
    }

    /// <summary>Nothing: the backend beneath belongs to who made it.</summary>
    public void Dispose()
    {
    }

    private static bool AreSame(TensorView x, TensorView y) => x.Buffer == y.Buffer && x.Offset == y.Offset;

    /// <summary>After an operation that changed y in place or added to it: its gradient stays for what came before.</summary>
    private void Record(TensorView y, Action<TensorView> backward)
    {
        _tape.Changed(y);
        if (_tape.IsRecording)
        {
            _tape.Record(() => backward(_tape.GradientOf(y)));
        }
    }

    /// <summary>After an operation that overwrote y: what y held before has no part in the loss.</summary>
    private void Overwrote(TensorView y, Action<TensorView> backward) => Record(y, dy =>
    {
        backward(dy);
        _operations.Clear(dy);
    });

    /// <summary>In place (a head norm) the gradient is overwritten by the operation, else it is added to x's and y's is cleared.</summary>
    private void RecordNorm(TensorView x, TensorView y, Action<TensorView, TensorView> backward)
    {
        if (AreSame(x, y))
        {
            Record(y, dy => backward(dy, dy));
        }
        else
        {
            Overwrote(y, dy => backward(dy, _tape.GradientOf(x)));
        }
    }
}
