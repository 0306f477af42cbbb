using System.ComponentModel.DataAnnotations;
using InferenceServer.AdapterStore;
using InferenceServer.AdapterStore.Cache;
using InferenceServer.Engine.Adapters;
using InferenceServer.Engine.Errors;
using InferenceServer.Engine.KvBlocks;
using InferenceServer.Engine.Loop;
using InferenceServer.Engine.Merging;
using InferenceServer.Engine.Requests;
using InferenceServer.Engine.Scheduling;
using InferenceServer.Engine.Streaming;
using InferenceServer.Engine.Telemetry;
using InferenceServer.Models;
using InferenceServer.Tensors;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace InferenceServer.Engine;

/// <summary>
/// The front door: checks a request, turns it into tokens and gets its adapters on the caller's side, then hands it to the loop, which
/// computes all running requests together. Any number of callers at once.
/// </summary>
public sealed class InferenceEngine : IAsyncDisposable
{
    private readonly LanguageModel _model;
    private readonly AdapterAccess _adapters;
    private readonly SchedulerOptions _schedulerOptions;
    private readonly TimeProvider _time;
    private readonly ILogger _logger;
    private readonly RequestPreparer _preparer;
    private readonly EngineMetrics _metrics;
    private readonly PaceMeter _pace = new();
    private readonly ModelRunner _runner;
    private readonly EngineLoop _loop;
    private readonly Merger _merger;
    private readonly AutomaticMerging? _automatic;
    private readonly KvMemory _memory;
    private readonly SharedRoom? _room;
    private long _lastId;
    private int _queued;
    private int _state;

    /// <param name="model">The model; outlives the engine.</param>
    /// <param name="backend">Where it runs; outlives the engine.</param>
    /// <param name="adapters">Where adapters come from.</param>
    /// <param name="options">Memory and reporting.</param>
    /// <param name="scheduler">Limits of steps and of the queue.</param>
    /// <param name="merge">When to merge by itself.</param>
    /// <param name="time">The clock; null for the system's.</param>
    /// <param name="logger">The log; null for none.</param>
    /// <param name="createProbeBackend">
    /// Makes a small backend of the same kind and with the same products, on which a merge measures what it does to logits; null to leave
    /// that out.
    /// </param>
    /// <exception cref="ArgumentException">The options do not go together with each other or with the model.</exception>
    public InferenceEngine(
        LanguageModel model,
        IComputeBackend backend,
        AdapterAccess adapters,
        EngineOptions options,
        SchedulerOptions scheduler,
        MergeOptions merge,
        TimeProvider? time = null,
        ILogger<InferenceEngine>? logger = null,
        Func<IComputeBackend>? createProbeBackend = null)
    {
        Validate(options);
        Validate(scheduler);
        Validate(merge);
        CheckFits(model, scheduler);
        _model = model;
        _adapters = adapters;
        _schedulerOptions = scheduler;
        _time = time ?? TimeProvider.System;
        _logger = logger ?? (ILogger)NullLogger.Instance;
        _memory = KvMemory.Take(model, backend, adapters.DeviceBudgetBytes, options, scheduler);
        _room = _memory.Chunks is null ? null : new SharedRoom(_memory.Chunks);
        _preparer = new RequestPreparer(model, _memory.GuaranteedTokens);
        _metrics = new EngineMetrics(Snapshot, options.MaxReportedAdapters);
        _runner = new ModelRunner(model.Transformer, backend, scheduler, _memory);
        _automatic = merge.Automatic ? new AutomaticMerging(merge, _time, _logger) : null;
        _loop = new EngineLoop(
            _memory.Chunks is null ? new Scheduler(scheduler, _memory.BlockCount) : new Scheduler(scheduler, _memory.Chunks, adapters.TryEvictIdle),
            _runner,
            _metrics,
            _pace,
            () => Interlocked.Decrement(ref _queued),
            _automatic is null ? null : _automatic.Observe,
            _room,
            _time,
            _logger);
        _merger = new Merger(model.Transformer, merge.Format, backend, createProbeBackend, adapters, _loop, _metrics, _time, _logger);
        if (_room is not null)
        {
            _room.Wake = () => _loop.TryPost(new EngineCommand.GiveMemory());
            adapters.Share(_room);
        }
    }

    public EngineState State => _loop.Fault.IsCompleted ? EngineState.Faulted : (EngineState)Volatile.Read(ref _state);

    /// <summary>Completes with the reason when the engine becomes <see cref="EngineState.Faulted"/>; never otherwise.</summary>
    public Task<Exception> Fault => _loop.Fault;

    /// <summary>The adapter folded into the base now; null for none.</summary>
    public MergedAdapter? MergedAdapter => _merger.Merged;

    /// <summary>Tokens that the KV cache holds.</summary>
    public int KvCapacity => _memory.BlockCount * _schedulerOptions.KvBlockSize;

    /// <summary>Starts the loop.</summary>
    public Task StartAsync()
    {
        if (Interlocked.CompareExchange(ref _state, (int)EngineState.Running, (int)EngineState.New) != (int)EngineState.New)
        {
            throw new InvalidOperationException($"the engine is {State} and is started once");
        }

        EngineLog.Started(
            _logger, _memory.BlockCount, _schedulerOptions.KvBlockSize, _runner.CacheBytes, _schedulerOptions.MaxBatchTokens, _schedulerOptions.MaxRunningSequences);
        if (_memory.Chunks is { } chunks)
        {
            EngineLog.MemoryIsShared(_logger, chunks.ByteCount, chunks.ChunkBytes, chunks.KvFloor * chunks.ChunkBytes, chunks.AdapterFloor * chunks.ChunkBytes);
        }

        _loop.Start();
        _automatic?.Start(_merger);
        return Task.CompletedTask;
    }

    /// <summary>Takes no more requests, lets those that it has finish, and after <paramref name="drainTimeout"/> ends the rest.</summary>
    public async Task StopAsync(TimeSpan drainTimeout)
    {
        int before = Interlocked.Exchange(ref _state, (int)EngineState.Draining);
        if (before is (int)EngineState.New or (int)EngineState.Stopped)
        {
            Volatile.Write(ref _state, (int)EngineState.Stopped);
            return;
        }

        if (_automatic is not null)
        {
            await _automatic.StopAsync();
        }

        _loop.TryPost(new EngineCommand.Stop(null));
        try
        {
            await _loop.Stopped.WaitAsync(drainTimeout, _time);
        }
        catch (TimeoutException)
        {
            int left = _loop.Counters.Running + _loop.Counters.Waiting;
            if (left > 0)
            {
                EngineLog.DrainTimedOut(_logger, left);
            }

            _loop.TryPost(new EngineCommand.Stop(new GenerationFailedException("the server is stopping")));
            await _loop.Stopped;
        }

        // The loop's thread is gone; the base is ours to put back.
        _runner.ChangeBase(null);
        Volatile.Write(ref _state, (int)EngineState.Stopped);
        EngineLog.Stopped(_logger);
    }

    /// <summary>
    /// Checks a request and puts it into the queue once its adapters are on the device. The stream must be disposed; disposing it early
    /// cancels the request.
    /// </summary>
    /// <param name="request">What to generate.</param>
    /// <param name="cancellationToken">Stops the waiting for adapters; afterwards use the stream.</param>
    /// <exception cref="InvalidRequestException">A field is out of bounds; it is named.</exception>
    /// <exception cref="ChatTemplateMissingException">A chat was asked of a model without a template.</exception>
    /// <exception cref="AdapterNotFoundException">There is no such adapter.</exception>
    /// <exception cref="CapacityExceededException">The adapters never fit on the device.</exception>
    /// <exception cref="QueueFullException">Too many requests wait.</exception>
    /// <exception cref="DeadlineExpiredException">The deadline passed while its adapters were loaded.</exception>
    /// <exception cref="EngineStoppedException">The engine is not running.</exception>
    public async Task<GenerationStream> SubmitAsync(GenerationRequest request, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(request);
        long arrival = _time.GetTimestamp();
        ThrowIfNotRunning();
        SequenceId id = new(Interlocked.Increment(ref _lastId));
        EnterQueue();
        AdapterLease[] leases = [];
        try
        {
            PreparedRequest prepared = _preparer.Prepare(request, cancellationToken);
            AdapterStack stack = _adapters.Resolve(request.Adapters);
            leases = await AcquireAsync(prepared, stack, cancellationToken);
            Generation generation = new(id, prepared, stack, leases, arrival);
            if (!_loop.TryPost(new EngineCommand.Add(generation)))
            {
                throw new EngineStoppedException("the engine has stopped");
            }

            string[] adapterIds = [.. stack.Adapters.Select(adapter => adapter.Id.ToString())];
            return new GenerationStream(generation, adapterIds, _model.Tokenizer, _time, Cancel);
        }
        catch (Exception error)
        {
            Interlocked.Decrement(ref _queued);
            foreach (AdapterLease lease in leases)
            {
                lease.Dispose();
            }

            _metrics.RecordRefusal(error switch
            {
                OperationCanceledException => RequestOutcome.Cancelled,
                DeadlineExpiredException => RequestOutcome.Expired,
                _ => RequestOutcome.Refused,
            });
            throw;
        }
    }

    /// <summary>
    /// Folds an adapter into the base: its tenant's requests then cost no more than the base model's, and all others are restored row by
    /// row. Running requests go on. Completes when the first step may use it.
    /// </summary>
    /// <exception cref="MergeConflictException">Another adapter is merged.</exception>
    /// <exception cref="Models.Merging.MergeException">This adapter cannot be merged.</exception>
    /// <exception cref="AdapterNotFoundException">There is no such adapter.</exception>
    public Task<MergedAdapter> MergeAsync(AdapterId id, CancellationToken cancellationToken = default)
    {
        ThrowIfNotRunning();
        return _merger.MergeAsync(id, cancellationToken);
    }

    /// <summary>Takes the merged adapter out again; the base's weights are then the same bits as before.</summary>
    /// <returns>What was merged; null when nothing was.</returns>
    public Task<MergedAdapter?> UnmergeAsync(CancellationToken cancellationToken = default)
    {
        ThrowIfNotRunning();
        return _merger.UnmergeAsync(cancellationToken);
    }

    /// <summary>To be asked before an adapter is unloaded or deleted.</summary>
    /// <exception cref="MergeConflictException">It is folded into the base.</exception>
    public void ThrowIfMerged(AdapterId id)
    {
        if (_merger.Merged is { } merged && merged.Id == id)
        {
            throw new MergeConflictException($"'{id}' is merged into the base; unmerge it first");
        }
    }

    public EngineSnapshot Snapshot()
    {
        LoopCounters counters = _loop.Counters;
        int waiting = Math.Max(Volatile.Read(ref _queued), counters.Waiting);
        return new EngineSnapshot(
            State,
            counters.Running,
            waiting,
            counters.UsedBlocks,
            _memory.BlockCount,
            counters.PromptTokens,
            counters.GenerationTokens,
            counters.PrefixQueryTokens,
            counters.PrefixHitTokens,
            counters.Preemptions,
            counters.Steps,
            _merger.Merged,
            Shared());
    }

    /// <summary>Stops at once and frees the KV cache.</summary>
    public async ValueTask DisposeAsync()
    {
        await StopAsync(TimeSpan.Zero);
        _automatic?.Dispose();
        _merger.Dispose();
        _loop.Dispose();
        _metrics.Dispose();
    }

    private SharedMemorySnapshot? Shared() => _memory.Chunks is not { } chunks
        ? null
        : new SharedMemorySnapshot(
            chunks.ByteCount,
            chunks.KvCount * chunks.ChunkBytes,
            chunks.AdapterCount * chunks.ChunkBytes,
            chunks.Wanted * chunks.ChunkBytes,
            _room!.GivenBytes);

    private async ValueTask<AdapterLease[]> AcquireAsync(PreparedRequest request, AdapterStack stack, CancellationToken cancellation)
    {
        if (request.Deadline is not { } deadline || stack.IsBase)
        {
            return await _adapters.AcquireAsync(stack, cancellation);
        }

        TimeSpan left = deadline - _time.GetUtcNow();
        if (left <= TimeSpan.Zero)
        {
            throw new DeadlineExpiredException(request.RequestId, 0);
        }

        // A timer takes at most 2^32 - 2 ms; whoever waits for longer has given up.
        using CancellationTokenSource expiry = new(left < TimeSpan.FromDays(40) ? left : TimeSpan.FromDays(40), _time);
        using CancellationTokenSource either = CancellationTokenSource.CreateLinkedTokenSource(expiry.Token, cancellation);
        try
        {
            return await _adapters.AcquireAsync(stack, either.Token);
        }
        catch (OperationCanceledException) when (expiry.IsCancellationRequested && !cancellation.IsCancellationRequested)
        {
            throw new DeadlineExpiredException(request.RequestId, 0);
        }
    }

    private void Cancel(Generation generation) => _loop.TryPost(new EngineCommand.Cancel(generation));

    private void EnterQueue()
    {
        int waiting = Interlocked.Increment(ref _queued) - 1;
        if (waiting >= _schedulerOptions.MaxWaiting)
        {
            Interlocked.Decrement(ref _queued);
            _metrics.RecordRefusal(RequestOutcome.QueueFull);
            throw new QueueFullException(waiting, _schedulerOptions.MaxWaiting, _pace.RetryAfter(waiting));
        }
    }

    private void ThrowIfNotRunning()
    {
        if (State != EngineState.Running)
        {
            throw new EngineStoppedException($"the engine takes no requests: it is {State}");
        }
    }

    private static void CheckFits(LanguageModel model, SchedulerOptions scheduler)
    {
        if (scheduler.MaxBatchTokens > model.Transformer.MaxBatchTokens)
        {
            throw new ArgumentException(
                $"{nameof(SchedulerOptions.MaxBatchTokens)} {scheduler.MaxBatchTokens} exceeds the model's workspace of {model.Transformer.MaxBatchTokens} rows");
        }

        if (scheduler.MaxRunningSequences > model.Transformer.MaxSampledRows)
        {
            throw new ArgumentException(
                $"{nameof(SchedulerOptions.MaxRunningSequences)} {scheduler.MaxRunningSequences} exceeds the model's {model.Transformer.MaxSampledRows} sampled rows");
        }
    }

    private static void Validate(object options)
    {
        try
        {
            Validator.ValidateObject(options, new ValidationContext(options), validateAllProperties: true);
        }
        catch (ValidationException error)
        {
            throw new ArgumentException($"{options.GetType().Name}: {error.Message}", error);
        }
    }
}
