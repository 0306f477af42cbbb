using InferenceServer.Engine.Sampling;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Sampling;
using InferenceServer.TestKit.Sampling;

namespace InferenceServer.TestKit.TinyModel;

/// <summary>A backend that draws tokens itself, by the engine's own sampler. A warm call allocates nothing while the rows' settings stay.</summary>
public sealed class DrawingBackend(IComputeBackend inner) : HookedBackend(inner), ISamplingBackend
{
    private HostSampling? _sampling;
    private float[] _logits = [];
    private SamplingRow[] _rows = [];
    private SamplingSettings?[] _settings = [];

    /// <summary>Rows drawn here so far.</summary>
    public long Drawn { get; private set; }

    /// <summary>Rows left out so far.</summary>
    public long LeftOut { get; private set; }

    public void Sample(TensorView logits, SamplingBatch batch, Span<SampledToken> tokens)
    {
        ArgumentNullException.ThrowIfNull(batch);
        OperationChecks.Sample(logits, batch, tokens);
        int count = logits.Rows * logits.Columns;
        if (_logits.Length < count)
        {
            _logits = new float[count];
            Array.Resize(ref _rows, logits.Rows);
            Array.Resize(ref _settings, logits.Rows);
        }

        Read(logits, _logits.AsSpan(0, count));
        for (int i = 0; i < logits.Rows; i++)
        {
            SamplingRow row = batch.Rows[i];
            _ = row.IsDrawn ? Drawn++ : LeftOut++;

            // All that the settings depend on; the lists and the draw are not among them, the biases of a test's requests do not change.
            SamplingRow kept = row with { Draw = 0, FirstToken = 0, PromptCount = 0, OutputCount = 0, BannedCount = 0 };
            if (row.IsDrawn && (_settings[i] is null || _rows[i] != kept))
            {
                _rows[i] = kept;
                _settings[i] = HostSampling.SettingsOf(batch, row);
            }
        }

        _sampling ??= new HostSampling(logits.Columns);
        _sampling.Sample(_logits.AsSpan(0, count), batch, _settings, tokens);
    }
}
