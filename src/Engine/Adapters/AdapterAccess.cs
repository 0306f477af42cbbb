using InferenceServer.AdapterStore;
using InferenceServer.AdapterStore.Cache;
using InferenceServer.Engine.Errors;
using InferenceServer.Engine.KvBlocks;
using InferenceServer.Engine.Requests;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Adapters;

namespace InferenceServer.Engine.Adapters;

/// <summary>
/// Where the engine's front door gets adapters from: names to versions, and leases on whole stacks. The cache and the source belong to
/// whoever made them.
/// </summary>
public sealed class AdapterAccess : IDisposable
{
    private const int MaxAdapters = 8;
    private const float MaxWeight = 100f;
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(1);

    private readonly Func<string, AdapterId> _resolve;
    private readonly IAdapterSource _source;
    private readonly AdapterCache _cache;
    private readonly long _deviceBudgetBytes;
    private readonly WeightFormat _format;
    private readonly TimeProvider _time;

    // One stack of several at a time: two that each hold what the other waits for would wait for ever.
    private readonly SemaphoreSlim _stackGate = new(1, 1);

    /// <param name="resolve">The version that "name" or "name@digest" means now; throws <see cref="AdapterNotFoundException"/>.</param>
    /// <param name="source">Where weights come from, for merging.</param>
    /// <param name="cache">Where leases come from.</param>
    /// <param name="deviceBudgetBytes">The cache's device budget; a stack that exceeds it is refused.</param>
    /// <param name="format">How the cache keeps matrices on the device.</param>
    /// <param name="time">The clock.</param>
    public AdapterAccess(
        Func<string, AdapterId> resolve,
        IAdapterSource source,
        AdapterCache cache,
        long deviceBudgetBytes,
        WeightFormat format,
        TimeProvider? time = null)
    {
        _resolve = resolve;
        _source = source;
        _cache = cache;
        _deviceBudgetBytes = deviceBudgetBytes;
        _format = format;
        _time = time ?? TimeProvider.System;
    }

    /// <summary>The version that a name means now.</summary>
    public AdapterId Resolve(string name) => _resolve(name);

    /// <summary>The parsed weights, from disk.</summary>
    public AdapterWeights LoadWeights(AdapterId id, CancellationToken cancellation) => _source.Load(id, cancellation);

    /// <summary>Checks a request's adapters and fixes their versions.</summary>
    public AdapterStack Resolve(IReadOnlyList<AdapterReference> references)
    {
        if (references.Count == 0)
        {
            return AdapterStack.Base;
        }

        if (references.Count > MaxAdapters)
        {
            throw new InvalidRequestException("adapters", $"{references.Count} adapters exceed the limit of {MaxAdapters}");
        }

        StackedAdapter[] stack = new StackedAdapter[references.Count];
        for (int i = 0; i < stack.Length; i++)
        {
            (string name, float weight) = references[i];
            if (!(Math.Abs(weight) <= MaxWeight))
            {
                throw new InvalidRequestException("adapters.weight", $"{weight} of '{name}' is not in [-{MaxWeight}, {MaxWeight}]");
            }

            stack[i] = new StackedAdapter(_resolve(name), weight);
        }

        return new AdapterStack([.. stack]);
    }

    /// <summary>Waits until every adapter of a stack is on the device and leases them, in the stack's order.</summary>
    /// <exception cref="CapacityExceededException">They never fit together.</exception>
    public async ValueTask<AdapterLease[]> AcquireAsync(AdapterStack stack, CancellationToken cancellation)
    {
        switch (stack.Adapters)
        {
            case []:
                return [];
            case [StackedAdapter sole]:
                return [await _cache.AcquireAsync(sole.Id, cancellation)];
        }

        CheckTogether(stack);
        AdapterLease[] leases = new AdapterLease[stack.Adapters.Length];
        if (TryAcquireResident(stack, leases))
        {
            return leases;
        }

        await _stackGate.WaitAsync(cancellation);
        try
        {
            // The first to ask for is the one that was missing last time: what is there already is quick to lease again.
            for (int attempt = 1, first = 0; ; attempt++)
            {
                first = await TryAcquireAsync(stack, leases, first, s_patience * attempt, cancellation);
                if (first < 0)
                {
                    return leases;
                }
            }
        }
        finally
        {
            _stackGate.Release();
        }
    }

    public void Dispose() => _stackGate.Dispose();

    // Holds what it has while it waits for the next. A request at the head of the cache's queue may need the room of just that, and wait
    // behind it for ever; so the patience is bounded, everything is let go, and the next attempt starts with what was missing.
    private async ValueTask<int> TryAcquireAsync(AdapterStack stack, AdapterLease[] leases, int first, TimeSpan patience, CancellationToken cancellation)
    {
        using CancellationTokenSource timeout = new(patience, _time);
        using CancellationTokenSource either = CancellationTokenSource.CreateLinkedTokenSource(timeout.Token, cancellation);
        int current = first;
        try
        {
            for (int i = 0; i < leases.Length; i++)
            {
                current = (first + i) % leases.Length;
                leases[current] = await _cache.AcquireAsync(stack.Adapters[current].Id, i == 0 ? cancellation : either.Token);
            }

            return -1;
        }
        catch (Exception error)
        {
            Release(leases);
            if (error is OperationCanceledException && timeout.IsCancellationRequested && !cancellation.IsCancellationRequested)
            {
                return current;
            }

            throw;
        }
    }

    private bool TryAcquireResident(AdapterStack stack, AdapterLease[] leases)
    {
        for (int i = 0; i < leases.Length; i++)
        {
            if (!_cache.TryAcquireResident(stack.Adapters[i].Id, out leases[i]))
            {
                Release(leases);
                return false;
            }
        }

        return true;
    }

    private void CheckTogether(AdapterStack stack)
    {
        long needed = stack.Adapters.Select(adapter => adapter.Id).Distinct().Sum(id => _source.Measure(id).DeviceBytes(_format));
        if (needed > _deviceBudgetBytes)
        {
            throw new CapacityExceededException(
                $"the {stack.Adapters.Length} adapters of one request take {needed} device bytes together, the budget is {_deviceBudgetBytes}", needed, _deviceBudgetBytes);
        }
    }

    private static void Release(AdapterLease[] leases)
    {
        foreach (ref AdapterLease lease in leases.AsSpan())
        {
            lease.Dispose();
            lease = default;
        }
    }
}
