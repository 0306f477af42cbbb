using InferenceServer.AdapterStore;

namespace InferenceServer.Engine.Merging;

/// <summary>
/// Watches which adapter the computed tokens are for, in slices of a sliding window, and says when one is worth merging. Pure data: the
/// caller brings the time. A stack of several adapters, or one with a weight other than 1, counts as traffic of nobody.
/// </summary>
public sealed class MergePolicy
{
    private const int Slices = 10;

    private readonly MergeOptions _options;
    private readonly Dictionary<AdapterId, long>[] _slices = [.. Enumerable.Range(0, Slices).Select(_ => new Dictionary<AdapterId, long>())];
    private readonly long[] _totals = new long[Slices];
    private readonly long _sliceTicks;
    private long _currentSlice = long.MinValue;
    private DateTimeOffset _lastChange = DateTimeOffset.MinValue;

    public MergePolicy(MergeOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        _options = options;
        _sliceTicks = Math.Max(1, options.Window.Ticks / Slices);
    }

    /// <summary>Counts tokens computed for an adapter, or for nobody in particular.</summary>
    public void Observe(DateTimeOffset now, AdapterId? adapter, long tokens)
    {
        int slice = Advance(now);
        _totals[slice] += tokens;
        if (adapter is AdapterId id)
        {
            _slices[slice][id] = _slices[slice].GetValueOrDefault(id) + tokens;
        }
    }

    /// <summary>What should be changed now; asking does not count as a change, see <see cref="Changed"/>.</summary>
    public MergeDecision Decide(DateTimeOffset now, AdapterId? merged)
    {
        Advance(now);
        long total = _totals.Sum();
        if (total < _options.MinimumTokens || now - _lastChange < _options.Cooldown)
        {
            return MergeDecision.Stay;
        }

        (AdapterId? hottest, long most) = Hottest();
        if (hottest is not null && hottest != merged && most >= _options.MergeShare * total)
        {
            return new MergeDecision(true, hottest);
        }

        bool isCold = merged is AdapterId id && TokensOf(id) < _options.UnmergeShare * total;
        return isCold ? new MergeDecision(true, null) : MergeDecision.Stay;
    }

    /// <summary>A change was made or tried: the cool-down begins.</summary>
    public void Changed(DateTimeOffset now) => _lastChange = now;

    private int Advance(DateTimeOffset now)
    {
        long slice = now.UtcTicks / _sliceTicks;
        if (_currentSlice == long.MinValue || slice - _currentSlice >= Slices)
        {
            _currentSlice = slice - Slices;
        }

        while (_currentSlice < slice)
        {
            int index = (int)(++_currentSlice % Slices);
            _slices[index].Clear();
            _totals[index] = 0;
        }

        return (int)(_currentSlice % Slices);
    }

    private (AdapterId? Id, long Tokens) Hottest()
    {
        (AdapterId? Id, long Tokens) hottest = (null, 0);
        foreach (AdapterId id in _slices.SelectMany(slice => slice.Keys).Distinct())
        {
            long tokens = TokensOf(id);
            if (tokens > hottest.Tokens)
            {
                hottest = (id, tokens);
            }
        }

        return hottest;
    }

    private long TokensOf(AdapterId id) => _slices.Sum(slice => slice.GetValueOrDefault(id));
}
