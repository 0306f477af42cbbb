using System.Threading.Channels;
using InferenceServer.AdapterStore;
using InferenceServer.Engine.Errors;
using InferenceServer.Engine.KvBlocks;
using InferenceServer.Engine.Merging;
using InferenceServer.Engine.Requests;
using InferenceServer.Engine.Scheduling;
using InferenceServer.Engine.Streaming;
using InferenceServer.Engine.Telemetry;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Sampling;
using Microsoft.Extensions.Logging;

namespace InferenceServer.Engine.Loop;

// One dedicated thread runs everything in this class and owns what it holds: scheduler, KV pool, model runner, and the loop's side of every
// generation. There are no locks here because nobody else comes in: others write commands into the inbox and read the published counters
// and the tokens that a generation has published. A warm step allocates nothing.
internal sealed class EngineLoop : IDisposable
{
    private readonly Channel<EngineCommand> _inbox = Channel.CreateUnbounded<EngineCommand>(new UnboundedChannelOptions { SingleReader = true });
    private readonly Scheduler _scheduler;
    private readonly ModelRunner _runner;
    private readonly EngineMetrics _metrics;
    private readonly TimeProvider _time;
    private readonly ILogger _logger;
    private readonly PaceMeter _pace;
    private readonly Action<AdapterId?, int>? _observe;
    private readonly Action _leftQueue;
    private readonly SharedRoom? _room;
    private readonly Thread _thread;
    private readonly TaskCompletionSource _stopped = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly TaskCompletionSource<Exception> _fault = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private bool _isStopping;
    private Exception? _stopError;

    /// <param name="scheduler">Its own from now on.</param>
    /// <param name="runner">Its own from now on.</param>
    /// <param name="metrics">Told of every step and end.</param>
    /// <param name="pace">Told of every request that leaves the queue.</param>
    /// <param name="leftQueue">Called when a request has its first step, or ends without one.</param>
    /// <param name="observe">Told whose tokens each step computes; null when nobody wants to know.</param>
    /// <param name="room">Where adapters ask for memory of KV blocks; null where they share none.</param>
    /// <param name="time">The clock.</param>
    /// <param name="logger">The log.</param>
    public EngineLoop(
        Scheduler scheduler,
        ModelRunner runner,
        EngineMetrics metrics,
        PaceMeter pace,
        Action leftQueue,
        Action<AdapterId?, int>? observe,
        SharedRoom? room,
        TimeProvider time,
        ILogger logger)
    {
        _scheduler = scheduler;
        _runner = runner;
        _metrics = metrics;
        _pace = pace;
        _leftQueue = leftQueue;
        _observe = observe;
        _room = room;
        _time = time;
        _logger = logger;
        _thread = new Thread(Run) { Name = "engine loop", IsBackground = true };
    }

    public LoopCounters Counters { get; } = new();

    /// <summary>Completes with the reason when the loop dies; never otherwise.</summary>
    public Task<Exception> Fault => _fault.Task;

    /// <summary>Completes when the thread is about to end; nothing runs any more.</summary>
    public Task Stopped => _stopped.Task;

    public void Start() => _thread.Start();

    /// <summary>Any thread. False once the loop has ended: nobody will look at the command.</summary>
    public bool TryPost(EngineCommand command) => _inbox.Writer.TryWrite(command);

    public void Dispose() => _runner.Dispose();

    private void Run()
    {
        try
        {
            while (Drain())
            {
                Step();
                Counters.Publish(_scheduler);
            }

            _room?.GiveAll(_scheduler);
        }
        catch (Exception error)
        {
            // A fault of the loop itself or of the device, not of a step: nothing that it holds can be trusted.
            EngineLog.LoopDied(_logger, error);
            _fault.SetResult(error);
            Abandon(new GenerationFailedException("the engine failed", error));
        }

        Close();
    }

    // Takes commands until there is something to compute; false when the loop is to end.
    private bool Drain()
    {
        while (true)
        {
            while (_inbox.Reader.TryRead(out EngineCommand? command))
            {
                Execute(command);
            }

            ExpireDeadlines();
            _room?.Give(_scheduler);
            if (!_scheduler.IsIdle)
            {
                return true;
            }

            _runner.Clear();
            Counters.Publish(_scheduler);
            if (_isStopping)
            {
                return false;
            }

            // Idle: blocked in the channel, without using the processor.
            ValueTask<bool> wait = _inbox.Reader.WaitToReadAsync();
            if (!wait.IsCompleted)
            {
                wait.AsTask().GetAwaiter().GetResult();
            }
        }
    }

    private void Execute(EngineCommand command)
    {
        switch (command)
        {
            case EngineCommand.Add(Generation generation):
                _scheduler.Add(generation);
                if (_stopError is not null)
                {
                    End(generation, _stopError, RequestOutcome.Failed);
                }

                break;
            case EngineCommand.Cancel(Generation generation):
                End(generation, new OperationCanceledException($"request '{generation.Request.RequestId}' was cancelled"), RequestOutcome.Cancelled);
                break;
            case EngineCommand.ChangeBase change:
                ChangeBase(change.Merged, change.Done);
                break;
            case EngineCommand.GiveMemory:
                break;
            case EngineCommand.Stop stop:
                _isStopping = true;
                _stopError ??= stop.Error;
                if (_stopError is not null)
                {
                    EndAll(_stopError);
                }

                break;
        }
    }

    private void ChangeBase(MergedState? merged, TaskCompletionSource done)
    {
        try
        {
            _runner.ChangeBase(merged);
            done.SetResult();
        }
        catch (Exception error)
        {
            // The runner has put the base back; whoever asked hears why.
            done.SetException(error);
        }

        _scheduler.ChangeBase(_runner.Merged?.Epoch ?? 0);
    }

    private void ExpireDeadlines()
    {
        DateTimeOffset now = _time.GetUtcNow();
        ExpireDeadlines(_scheduler.Waiting, now);
        ExpireDeadlines(_scheduler.Running, now);
    }

    private void ExpireDeadlines(IReadOnlyList<Sequence> sequences, DateTimeOffset now)
    {
        for (int i = sequences.Count - 1; i >= 0; i--)
        {
            Generation generation = (Generation)sequences[i];
            if (generation.Request.Deadline <= now)
            {
                End(generation, new DeadlineExpiredException(generation.Request.RequestId, generation.NewTokenCount), RequestOutcome.Expired);
            }
        }
    }

    private void Step()
    {
        long start = _time.GetTimestamp();
        StepPlan plan = _scheduler.Plan();
        MarkFirstSteps(plan, start);
        try
        {
            _runner.Run(plan, _scheduler.FreshChunks);
        }
        catch (Exception error) when (error is not DeviceLostException)
        {
            FailStep(plan, error);
            return;
        }

        FailUnsampled(plan);
        _scheduler.Commit(_runner.Tokens);
        Counters.AddStep();
        Deliver(plan);
        _metrics.RecordStep(_time.GetElapsedTime(start), plan.TokenCount);
    }

    private void MarkFirstSteps(StepPlan plan, long now)
    {
        foreach (ref readonly PlannedSequence item in plan.Sequences)
        {
            Generation generation = (Generation)item.Sequence;
            _observe?.Invoke(SoleAdapter(generation.Stack), item.TokenCount);
            if (generation.FirstStep == 0)
            {
                generation.FirstStep = now;
                _pace.Observe(now, _time);
                _leftQueue();
                Counters.AddPrompt(generation.PromptLength);
                _metrics.RecordFirstStep(_time.GetElapsedTime(generation.Arrival, now), generation.PromptLength, NameOf(generation));
            }
        }
    }

    private void FailStep(StepPlan plan, Exception error)
    {
        EngineLog.StepFailed(_logger, error, plan.TokenCount, plan.Sequences.Length);
        foreach (ref readonly PlannedSequence item in plan.Sequences)
        {
            End((Generation)item.Sequence, new GenerationFailedException("the step failed: " + error.Message, error), RequestOutcome.Failed);
        }
    }

    private void FailUnsampled(StepPlan plan)
    {
        for (int i = 0; i < plan.Sequences.Length; i++)
        {
            if (!plan.Sequences[i].IsSampled || _runner.Statuses[i] == SampleStatus.Sampled)
            {
                continue;
            }

            Generation generation = (Generation)plan.Sequences[i].Sequence;
            string reason = _runner.Statuses[i] == SampleStatus.NotFinite
                ? $"the model's logits at position {generation.TokenCount} are not finite numbers (NaN or infinity)"
                : $"the request's bans and biases leave no token at position {generation.TokenCount}";
            EngineLog.RequestFailed(_logger, generation.Request.RequestId, reason);
            End(generation, new GenerationFailedException(reason), RequestOutcome.Failed);
        }
    }

    private void Deliver(StepPlan plan)
    {
        long now = _time.GetTimestamp();
        foreach (ref readonly PlannedSequence item in plan.Sequences)
        {
            Generation generation = (Generation)item.Sequence;
            if (!item.IsSampled || generation.IsEnded)
            {
                continue;
            }

            Counters.AddGenerated(1);
            if (generation.FirstToken == 0)
            {
                generation.FirstToken = now;
                _metrics.RecordFirstToken(_time.GetElapsedTime(generation.Arrival, now));
            }

            if (generation.FinishReason == FinishReason.None)
            {
                generation.Signal.Set();
            }
            else
            {
                Finish(generation, null, generation.FinishReason == FinishReason.Stop ? RequestOutcome.Stop : RequestOutcome.Length);
            }
        }
    }

    // Ends a generation that is in the scheduler; nothing happens when it has ended.
    private void End(Generation generation, Exception error, string outcome)
    {
        if (!generation.IsEnded)
        {
            _scheduler.Remove(generation);
            Finish(generation, error, outcome);
        }
    }

    private void Finish(Generation generation, Exception? error, string outcome)
    {
        if (generation.FirstStep == 0)
        {
            _leftQueue();
        }

        long now = _time.GetTimestamp();
        TimeSpan decoding = generation.FirstToken == 0 ? TimeSpan.Zero : _time.GetElapsedTime(generation.FirstToken, now);
        _metrics.RecordEnd(_time.GetElapsedTime(generation.Arrival, now), decoding, generation.NewTokenCount, NameOf(generation), outcome);
        generation.Finish(error, now);
    }

    private void EndAll(Exception error)
    {
        foreach (Sequence sequence in _scheduler.Running.Concat(_scheduler.Waiting).ToArray())
        {
            End((Generation)sequence, error, RequestOutcome.Failed);
        }
    }

    // Answers everybody without touching the scheduler's state or the clock, which may be what failed.
    private void Abandon(Exception error)
    {
        foreach (Sequence sequence in _scheduler.Running.Concat(_scheduler.Waiting).ToArray())
        {
            if (sequence is Generation { IsEnded: false } generation)
            {
                generation.Finish(error, generation.Arrival);
            }
        }
    }

    // No command is lost without an answer: what is still in the inbox is ended here, what comes later is refused by the closed inbox.
    private void Close()
    {
        _inbox.Writer.TryComplete();
        while (_inbox.Reader.TryRead(out EngineCommand? command))
        {
            switch (command)
            {
                case EngineCommand.Add(Generation generation):
                    generation.Finish(new GenerationFailedException("the engine has stopped"), generation.Arrival);
                    break;
                case EngineCommand.ChangeBase(_, TaskCompletionSource done):
                    done.SetException(new EngineStoppedException("the engine has stopped"));
                    break;
            }
        }

        Counters.Publish(_scheduler);
        _stopped.SetResult();
    }

    private static string? NameOf(Generation generation) => generation.Stack.IsBase ? null : generation.Stack.Adapters[0].Id.Name;

    private static AdapterId? SoleAdapter(AdapterStack stack) =>
        stack.Adapters is [{ Weight: 1f } sole] ? sole.Id : null;
}
