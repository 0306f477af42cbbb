using InferenceServer.AdapterStore;
using InferenceServer.Engine.Adapters;
using InferenceServer.Engine.Errors;
using InferenceServer.Engine.Loop;
using InferenceServer.Engine.Telemetry;
using InferenceServer.Models.Transformer;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Adapters;
using Microsoft.Extensions.Logging;

namespace InferenceServer.Engine.Merging;

/// <summary>
/// Merges and unmerges, one change at a time: the folding runs beside the steps on a background thread, only the exchange of weights is the
/// loop's. Whatever fails on the way leaves the base as it was.
/// </summary>
internal sealed class Merger : IDisposable
{
    private readonly TransformerModel _model;
    private readonly WeightFormat _format;
    private readonly IComputeBackend _backend;
    private readonly Func<IComputeBackend>? _createProbeBackend;
    private readonly AdapterAccess _adapters;
    private readonly EngineLoop _loop;
    private readonly EngineMetrics _metrics;
    private readonly TimeProvider _time;
    private readonly ILogger _logger;
    private readonly SemaphoreSlim _gate = new(1, 1);
    private int _epochs;
    private MergedState? _state;
    private volatile MergedAdapter? _merged;

    public Merger(
        TransformerModel model,
        WeightFormat? format,
        IComputeBackend backend,
        Func<IComputeBackend>? createProbeBackend,
        AdapterAccess adapters,
        EngineLoop loop,
        EngineMetrics metrics,
        TimeProvider time,
        ILogger logger)
    {
        _model = model;
        _format = format ?? (backend.RoundsInputs(model.WeightFormat) ? WeightFormat.BF16 : WeightFormat.F32);
        _backend = backend;
        _createProbeBackend = createProbeBackend;
        _adapters = adapters;
        _loop = loop;
        _metrics = metrics;
        _time = time;
        _logger = logger;
    }

    /// <summary>What is in the base now; null for nothing.</summary>
    public MergedAdapter? Merged => _merged;

    public async Task<MergedAdapter> MergeAsync(AdapterId id, CancellationToken cancellation)
    {
        await _gate.WaitAsync(cancellation);
        try
        {
            if (_merged is { } merged)
            {
                return merged.Id == id ? merged : throw new MergeConflictException($"'{merged.Id}' is merged; unmerge it before merging '{id}'");
            }

            long start = _time.GetTimestamp();
            bool isDone = false;
            try
            {
                (MergedState state, LogitChange? change) = await Task.Run(() => Fold(id, cancellation), cancellation);
                await InstallAsync(state);
                _state = state;
                _merged = new MergedAdapter(id, state.Folded.ModuleCount, state.ByteCount, _time.GetUtcNow(), _time.GetElapsedTime(start))
                {
                    LogitChange = change,
                };
                isDone = true;
            }
            finally
            {
                _metrics.RecordMerge(_time.GetElapsedTime(start), "merge", isDone);
            }

            EngineLog.Merged(_logger, id.ToString(), _merged.ModuleCount, _merged.ExtraBytes, _merged.Duration.TotalSeconds);
            if (_merged.LogitChange is { } measured)
            {
                EngineLog.LogitsChanged(_logger, id.ToString(), measured.Tenant, measured.Others, measured.Largest);
            }

            return _merged;
        }
        finally
        {
            _gate.Release();
        }
    }

    /// <returns>What was merged; null when nothing was.</returns>
    public async Task<MergedAdapter?> UnmergeAsync(CancellationToken cancellation)
    {
        await _gate.WaitAsync(cancellation);
        try
        {
            if (_state is not { } state)
            {
                return null;
            }

            long start = _time.GetTimestamp();
            MergedAdapter? merged = _merged;
            await ChangeBaseAsync(null);
            _merged = null;
            _state = null;
            state.Dispose();
            _metrics.RecordMerge(_time.GetElapsedTime(start), "unmerge", isSuccess: true);
            EngineLog.Unmerged(_logger, state.Id.ToString());
            return merged;
        }
        finally
        {
            _gate.Release();
        }
    }

    /// <summary>Frees the merged weights; the loop has ended and the base is its own again.</summary>
    public void Dispose()
    {
        _merged = null;
        _state?.Dispose();
        _state = null;
        _gate.Dispose();
    }

    private (MergedState State, LogitChange? Change) Fold(AdapterId id, CancellationToken cancellation)
    {
        AdapterWeights weights = _adapters.LoadWeights(id, cancellation);
        cancellation.ThrowIfCancellationRequested();
        MergedState state = new(id, ++_epochs, _model.Fold(weights, _format), _backend);
        try
        {
            return (state, Probe(weights, state));
        }
        catch
        {
            state.Dispose();
            throw;
        }
    }

    // On this thread and a backend of its own, beside the steps. It is a report: where it fails, the merge goes on without one.
    private LogitChange? Probe(AdapterWeights weights, MergedState state)
    {
        if (_createProbeBackend is null)
        {
            return null;
        }

        try
        {
            using IComputeBackend backend = _createProbeBackend();
            using DeviceAdapter adapter = backend.CreateAdapter(weights, _adapters.Format);
            return MergeProbe.Measure(_model, backend, adapter, state);
        }
        catch (Exception error)
        {
            EngineLog.MergeNotMeasured(_logger, error, state.Id.ToString());
            return null;
        }
    }

    private async Task InstallAsync(MergedState state)
    {
        try
        {
            await ChangeBaseAsync(state);
        }
        catch
        {
            state.Dispose();
            throw;
        }
    }

    private Task ChangeBaseAsync(MergedState? state)
    {
        TaskCompletionSource done = new(TaskCreationOptions.RunContinuationsAsynchronously);
        return _loop.TryPost(new EngineCommand.ChangeBase(state, done))
            ? done.Task
            : throw new EngineStoppedException("the engine has stopped");
    }
}
