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
public sealed class AdapterAccess
{
    private const int MaxAdapters = 8;
    private const float MaxWeight = 100f;
    private static readonly TimeSpan s_recheck = TimeSpan.FromSeconds(5);

    private readonly Func<string, AdapterId> _resolve;
    private readonly IAdapterSource _source;
    private readonly AdapterCache _cache;
    private readonly long _deviceBudgetBytes;
    private readonly WeightFormat _format;

    private readonly SharedGate _gate = new();

    /// <param name="resolve">The version that "name" or "name@digest" means now; throws <see cref="AdapterNotFoundException"/>.</param>
    /// <param name="source">Where weights come from, for merging.</param>
    /// <param name="cache">Where leases come from.</param>
    /// <param name="deviceBudgetBytes">The cache's device budget; a stack that exceeds it is refused.</param>
    /// <param name="format">How the cache keeps matrices on the device.</param>
    public AdapterAccess(
        Func<string, AdapterId> resolve,
        IAdapterSource source,
        AdapterCache cache,
        long deviceBudgetBytes,
        WeightFormat format)
    {
        _resolve = resolve;
        _source = source;
        _cache = cache;
        _deviceBudgetBytes = deviceBudgetBytes;
        _format = format;
    }

    /// <summary>Most that adapters take of the device; what they need not give up, where they share its memory.</summary>
    internal long DeviceBudgetBytes => _deviceBudgetBytes;

    /// <summary>How matrices are kept on the device.</summary>
    internal WeightFormat Format => _format;

    /// <summary>Adapters share their memory from here on.</summary>
    internal void Share(IAdapterRoom room) => _cache.Share(room);

    /// <summary>Frees idle adapters for others who share the memory; see <see cref="AdapterCache.TryEvictIdle"/>.</summary>
    internal bool TryEvictIdle(long byteCount) => _cache.TryEvictIdle(byteCount);

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
        AdapterLease[] leases = stack.IsBase ? [] : new AdapterLease[stack.Adapters.Length];
        if (TryAcquireResident(stack, leases))
        {
            return leases;
        }

        // Whoever holds one adapter while it waits for another may hold just the room that others before it in the cache's queue wait
        // for, and wait behind them for ever. So a stack of several loads alone: then only running sequences are in its way, and they end.
        bool alone = leases.Length > 1;
        await _gate.EnterAsync(alone, cancellation);
        try
        {
            for (int i = 0; i < leases.Length; i++)
            {
                leases[i] = alone
                    ? await AcquireNextAsync(stack, leases, i, cancellation)
                    : await _cache.AcquireAsync(stack.Adapters[i].Id, cancellation);
            }

            return leases;
        }
        catch
        {
            Release(leases);
            throw;
        }
        finally
        {
            _gate.Leave();
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

    // Looks again from time to time whether the stack can still fit: somebody may pin an adapter while it waits.
    private async ValueTask<AdapterLease> AcquireNextAsync(AdapterStack stack, AdapterLease[] leases, int next, CancellationToken cancellation)
    {
        while (true)
        {
            CheckTogether(stack, leases);
            using CancellationTokenSource either = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
            either.CancelAfter(s_recheck);
            try
            {
                return await _cache.AcquireAsync(stack.Adapters[next].Id, either.Token);
            }
            catch (OperationCanceledException) when (!cancellation.IsCancellationRequested)
            {
                // Not in time; see what has changed.
            }
        }
    }

    // Room that is pinned never comes while the stack waits. What is leased already counts as it is on the device, which may be more than
    // its file let expect.
    private void CheckTogether(AdapterStack stack, AdapterLease[] leases)
    {
        Dictionary<AdapterId, long> bytes = [];
        for (int i = 0; i < leases.Length; i++)
        {
            AdapterId id = stack.Adapters[i].Id;
            bytes[id] = leases[i].IsHeld ? leases[i].Adapter.ByteCount : bytes.GetValueOrDefault(id, _source.Measure(id).DeviceBytes(_format));
        }

        long needed = bytes.Values.Sum();
        long pinned = _cache.Snapshot().Where(adapter => adapter.IsPinned && !bytes.ContainsKey(adapter.Id)).Sum(adapter => adapter.DeviceBytes);
        long most = _cache.MaxDeviceBytes;
        if (needed > most - pinned)
        {
            throw new CapacityExceededException(
                $"the {bytes.Count} adapters of one request take {needed} device bytes together, the budget is {most} and {pinned} of it are pinned",
                needed,
                most - pinned);
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
