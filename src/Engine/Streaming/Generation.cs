using InferenceServer.AdapterStore.Cache;
using InferenceServer.Engine.KvBlocks;
using InferenceServer.Engine.Sampling;
using InferenceServer.Engine.Scheduling;
using InferenceServer.Tensors.Adapters;

namespace InferenceServer.Engine.Streaming;

/// <summary>A sequence with what its request wants beside: the loop's side writes, the stream's side reads.</summary>
internal sealed class Generation : Sequence
{
    private readonly AdapterLease[] _leases;
    private readonly TaskCompletionSource _completion = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private bool _isEnded;

    public Generation(
        SequenceId id,
        PreparedRequest request,
        AdapterStack stack,
        AdapterLease[] leases,
        long arrival)
        : base(id, request.PromptTokens, request.MaxNewTokens, stack, request.EndTokens, request.MinNewTokens)
    {
        Request = request;
        Arrival = arrival;
        _leases = leases;
        Adapters = [.. leases.Select(lease => lease.Adapter)];
        Logprobs = request.Logprobs is int best ? new LogprobLog(best, request.MaxNewTokens) : null;
    }

    public PreparedRequest Request { get; }

    public SamplingSettings Sampling => Request.Sampling;

    /// <summary>The resident adapters, in the stack's order.</summary>
    public DeviceAdapter[] Adapters { get; }

    public LogprobLog? Logprobs { get; }

    public TokenSignal Signal { get; } = new();

    /// <summary>Timestamps of the engine's clock; 0 for what has not happened.</summary>
    public long Arrival { get; }

    public long FirstStep { get; set; }

    public long FirstToken { get; set; }

    public long End { get; private set; }

    /// <summary>Why it did not end in order. Valid once <see cref="IsEnded"/>.</summary>
    public Exception? Error { get; private set; }

    /// <summary>Whether the loop is done with it; everything else is final then.</summary>
    public bool IsEnded => Volatile.Read(ref _isEnded);

    /// <summary>Completes when the loop is done with it and its leases are returned.</summary>
    public Task Completion => _completion.Task;

    /// <summary>Called once, by the loop.</summary>
    public void Finish(Exception? error, long now)
    {
        foreach (AdapterLease lease in _leases)
        {
            lease.Dispose();
        }

        Error = error;
        End = now;
        Volatile.Write(ref _isEnded, true);
        Signal.Set();
        _completion.SetResult();
    }
}
