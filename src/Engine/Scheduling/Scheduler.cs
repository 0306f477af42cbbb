using System.Diagnostics;
using InferenceServer.Engine.KvBlocks;
using InferenceServer.Engine.Requests;
using InferenceServer.Tensors.Memory;

namespace InferenceServer.Engine.Scheduling;

/// <summary>
/// Decides what each step computes: continuous batching with chunked prefill. Pure data, no device, no clock, no locks: one thread calls
/// <see cref="Plan"/>, lets somebody run the plan, and calls <see cref="Commit"/>.
/// </summary>
/// <remarks>
/// Decodes come first, so that a prompt never delays them by more than one step; then prompts under way; then admissions in order of
/// arrival. A sequence that does not fit is passed by younger ones, but only <see cref="SchedulerOptions.MaxSkips"/> times. When KV
/// blocks run out the youngest running sequence loses its own and is computed again later. The oldest one is therefore never preempted
/// and, because <see cref="CanEverFit"/> was asked before, always reaches its end; so does then the next oldest.
/// </remarks>
public sealed class Scheduler
{
    // How deep into the queue a step looks for a sequence that fits: each look costs a walk through the prefix cache.
    private const int AdmissionWindow = 64;

    private readonly SchedulerOptions _options;
    private readonly PrefixCache _cache;
    private readonly ChunkBudget? _chunks;
    private readonly Func<long, bool>? _evictIdleAdapters;
    private readonly StepPlan _plan;
    private readonly List<Sequence> _running = [];
    private readonly List<Sequence> _waiting = [];
    private int _budget;
    private int _baseEpoch;
    private int _baseSwitches;
    private long _preemptions;
    private long _prefixQueryTokens;
    private long _prefixHitTokens;

    public Scheduler(SchedulerOptions options, int blockCount)
        : this(options, new KvBlockPool(blockCount))
    {
    }

    /// <summary>A scheduler whose KV blocks share their memory with adapters.</summary>
    /// <param name="options">Limits.</param>
    /// <param name="chunks">The memory.</param>
    /// <param name="evictIdleAdapters">Frees about so many bytes of adapters that nobody uses; false when there are not so many.</param>
    public Scheduler(SchedulerOptions options, ChunkBudget chunks, Func<long, bool> evictIdleAdapters)
        : this(options, new KvBlockPool(chunks))
    {
        _chunks = chunks;
        _evictIdleAdapters = evictIdleAdapters;
    }

    private Scheduler(SchedulerOptions options, KvBlockPool pool)
    {
        ArgumentNullException.ThrowIfNull(options);
        _options = options;
        _cache = new PrefixCache(pool, options.KvBlockSize, options.PrefixCaching);
        _plan = new StepPlan(options.MaxRunningSequences);
    }

    /// <summary>Oldest first.</summary>
    public IReadOnlyList<Sequence> Running => _running;

    /// <summary>Oldest first.</summary>
    public IReadOnlyList<Sequence> Waiting => _waiting;

    public bool IsIdle => _running.Count == 0 && _waiting.Count == 0;

    public int UsedBlocks => _cache.UsedCount;

    /// <summary>Blocks that there can be at once.</summary>
    public int BlockCount => _cache.MostCount;

    /// <summary>Chunks of a shared memory that <see cref="GiveChunks"/> could give.</summary>
    public int IdleChunks => _cache.IdleChunks;

    /// <summary>Chunks of a shared memory to be cleared before the plan runs; whoever has done it empties the list.</summary>
    public List<int> FreshChunks => _cache.FreshChunks;

    public SchedulerCounters Counters => new(_preemptions, _prefixQueryTokens, _prefixHitTokens);

    /// <summary>Whether so many tokens fit into the KV cache when nothing else does.</summary>
    public bool CanEverFit(int cachedTokens) => BlocksFor(cachedTokens) <= _cache.GuaranteedCount;

    /// <summary>Puts a new sequence into the queue, at its place by age: it may have waited for its adapter elsewhere.</summary>
    public void Add(Sequence sequence)
    {
        ArgumentNullException.ThrowIfNull(sequence);
        Debug.Assert(sequence.State == SequenceState.New, "added once");
        Debug.Assert(CanEverFit(sequence.MaxCachedTokens), "checked where requests enter");
        sequence.ReserveBlockTable(BlocksFor(sequence.MaxCachedTokens));
        Enqueue(sequence);
    }

    /// <summary>Takes a sequence out, wherever it is; its blocks are free for others at once. Nothing happens when it has ended.</summary>
    public void Remove(Sequence sequence)
    {
        ArgumentNullException.ThrowIfNull(sequence);
        switch (sequence.State)
        {
            case SequenceState.Waiting:
                _waiting.Remove(sequence);
                break;
            case SequenceState.Running:
                _running.Remove(sequence);
                ReleaseBlocks(sequence);
                break;
            case SequenceState.New:
            case SequenceState.Ended:
            default:
                return;
        }

        sequence.State = SequenceState.Ended;
    }

    /// <summary>
    /// The base weights changed between two steps (an adapter was merged or unmerged). What running sequences have in the cache is
    /// partly from before, so it is not offered to others any more.
    /// </summary>
    /// <param name="baseEpoch">0 for the unmerged base, which is the same bits each time; a number never used before for a merge.</param>
    public void ChangeBase(int baseEpoch)
    {
        _baseEpoch = baseEpoch;
        _baseSwitches++;
    }

    /// <summary>Gives memory without used blocks to adapters, between two steps and with nothing under way.</summary>
    /// <returns>Chunks given, at most so many.</returns>
    public int GiveChunks(int most) => _cache.GiveChunks(most);

    /// <summary>Plans the next step; empty when there is nothing to do. The plan is valid until the next call.</summary>
    public StepPlan Plan()
    {
        _plan.Clear();
        _budget = _options.MaxBatchTokens;
        long preemptionsBefore = _preemptions;
        foreach (Sequence sequence in _running)
        {
            sequence.PlannedTokens = 0;
        }

        PlanDecodes();
        PlanPrefills();
        if (_preemptions == preemptionsBefore)
        {
            // Not in a step that had to preempt: the victim would be the first to come back.
            Admit();
        }

        foreach (Sequence sequence in _running)
        {
            if (sequence.PlannedTokens > 0)
            {
                bool isSampled = sequence.PlannedTokens == sequence.PendingTokens;
                _plan.Add(new PlannedSequence(sequence, sequence.ComputedTokens, sequence.PlannedTokens, isSampled));
            }
        }

        _plan.Sort();
        Debug.Assert(!_plan.IsEmpty || IsIdle, "with work there is progress");
        return _plan;
    }

    /// <summary>
    /// Takes over the results of the last plan: what was computed is in the cache, sampled tokens are appended, and a sequence that
    /// ended by them has a <see cref="FinishReason"/> and is out. Sequences removed since the plan are left alone.
    /// </summary>
    /// <param name="sampledTokens">One for each planned sequence, in order; looked at only where it is sampled.</param>
    public void Commit(ReadOnlySpan<int> sampledTokens)
    {
        ReadOnlySpan<PlannedSequence> items = _plan.Sequences;
        for (int i = 0; i < items.Length; i++)
        {
            Sequence sequence = items[i].Sequence;
            if (sequence.State != SequenceState.Running)
            {
                continue;
            }

            sequence.ComputedTokens += items[i].TokenCount;
            sequence.HasRun = true;
            RegisterBlocks(sequence);
            if (items[i].IsSampled)
            {
                Append(sequence, sampledTokens[i]);
            }
        }
    }

    private void Append(Sequence sequence, int token)
    {
        sequence.Append(token);
        if (sequence.IsEnd(token, sequence.NewTokenCount))
        {
            sequence.FinishReason = FinishReason.Stop;
        }
        else if (sequence.NewTokenCount == sequence.MaxNewTokens)
        {
            sequence.FinishReason = FinishReason.Length;
        }
        else
        {
            return;
        }

        Remove(sequence);
    }

    private void PlanDecodes()
    {
        for (int i = 0; i < _running.Count && _budget > 0; i++)
        {
            Sequence sequence = _running[i];
            if (sequence.PendingTokens == 1 && EnsureBlocks(sequence, sequence.TokenCount))
            {
                sequence.PlannedTokens = 1;
                _budget--;
            }
        }
    }

    private void PlanPrefills()
    {
        for (int i = 0; i < _running.Count && _budget > 0; i++)
        {
            Sequence sequence = _running[i];
            if (sequence.PlannedTokens > 0)
            {
                continue;
            }

            int count = Math.Min(sequence.PendingTokens, _budget);
            if (EnsureBlocks(sequence, sequence.ComputedTokens + count))
            {
                sequence.PlannedTokens = count;
                _budget -= count;
            }
        }
    }

    private void Admit()
    {
        int i = 0;
        while (i < Math.Min(_waiting.Count, AdmissionWindow) && _running.Count < _options.MaxRunningSequences && _budget > 0)
        {
            Sequence sequence = _waiting[i];
            if (TryAdmit(sequence))
            {
                _waiting.RemoveAt(i);
                for (int older = 0; older < i; older++)
                {
                    _waiting[older].Skips++;
                }
            }
            else if (sequence.Skips >= _options.MaxSkips)
            {
                break;
            }
            else
            {
                i++;
            }
        }
    }

    private bool TryAdmit(Sequence sequence)
    {
        int known = sequence.TokenCount;

        // At least one token must be left to compute: its logits are what the sequence is admitted for.
        int most = (known - 1) / _cache.BlockSize;
        PrefixRoot root = _cache.OpenRoot(sequence.Stack, _baseEpoch);
        int found = _cache.Match(root, sequence.Tokens, sequence.BlockBuffer[..most], out long node, out int kept);

        // All blocks of the known tokens are taken now, though they are computed in chunks: so prompts under way never preempt. One more
        // is left free for the first new token when others run, lest the admission is the next preemption.
        int needed = BlocksFor(known) - found;
        int spare = _running.Count == 0 ? 0 : 1;
        while (!_cache.TryReserve(needed + spare, kept))
        {
            // Adapters that wait for memory are not robbed of more of it by those who are not running yet.
            if (_chunks is not { Wanted: 0 } || !TryEvictIdleAdapters(needed + spare - (_cache.AvailableCount - kept)))
            {
                _cache.CloseRoot(root);
                return false;
            }
        }

        for (int i = 0; i < found; i++)
        {
            int block = sequence.BlockBuffer[i];
            _cache.Acquire(block);
            sequence.AddBlock(block);
        }

        sequence.Root = root;
        sequence.Node = node;
        sequence.RegisteredBlocks = found;
        sequence.BaseSwitches = _baseSwitches;
        sequence.ComputedTokens = found * _cache.BlockSize;
        sequence.Skips = 0;
        _prefixQueryTokens += known;
        _prefixHitTokens += sequence.ComputedTokens;
        if (!sequence.HasRun && sequence.Preemptions == 0)
        {
            sequence.CachedPromptTokens = sequence.ComputedTokens;
        }

        sequence.State = SequenceState.Running;
        InsertByAge(_running, sequence);
        for (int i = 0; i < needed; i++)
        {
            sequence.AddBlock(_cache.TakeReserved());
        }

        sequence.PlannedTokens = Math.Min(sequence.PendingTokens, _budget);
        _budget -= sequence.PlannedTokens;
        return true;
    }

    // Gives a sequence blocks for so many tokens; while there are none idle adapters lose theirs, then younger sequences. False when the sequence
    // itself was the youngest and has been preempted.
    private bool EnsureBlocks(Sequence sequence, int tokens)
    {
        while (sequence.BlockCount < BlocksFor(tokens))
        {
            if (_cache.TryTake(out int block))
            {
                sequence.AddBlock(block);
                continue;
            }

            if (TryEvictIdleAdapters(BlocksFor(tokens) - sequence.BlockCount))
            {
                continue;
            }

            Sequence youngest = _running[^1];
            Preempt(youngest);
            if (ReferenceEquals(youngest, sequence))
            {
                return false;
            }
        }

        return true;
    }

    private bool TryEvictIdleAdapters(int blocks)
    {
        if (_chunks is null || !_chunks.CanKvGain)
        {
            return false;
        }

        int chunks = (blocks + _chunks.BlocksPerChunk - 1) / _chunks.BlocksPerChunk;
        return _evictIdleAdapters!(chunks * _chunks.ChunkBytes);
    }

    private void Preempt(Sequence sequence)
    {
        _budget += sequence.PlannedTokens;
        sequence.PlannedTokens = 0;
        sequence.Preemptions++;
        _preemptions++;
        _running.Remove(sequence);
        ReleaseBlocks(sequence);
        Enqueue(sequence);
    }

    private void Enqueue(Sequence sequence)
    {
        sequence.State = SequenceState.Waiting;
        InsertByAge(_waiting, sequence);
    }

    private void ReleaseBlocks(Sequence sequence)
    {
        while (sequence.BlockCount > 0)
        {
            _cache.Release(sequence.RemoveLastBlock());
        }

        sequence.ComputedTokens = 0;
        sequence.RegisteredBlocks = 0;
        _cache.CloseRoot(sequence.Root!);
        sequence.Root = null;
    }

    private void RegisterBlocks(Sequence sequence)
    {
        if (sequence.BaseSwitches != _baseSwitches)
        {
            return;
        }

        int full = sequence.ComputedTokens / _cache.BlockSize;
        while (sequence.RegisteredBlocks < full)
        {
            int index = sequence.RegisteredBlocks++;
            ReadOnlySpan<int> tokens = sequence.Tokens.Slice(index * _cache.BlockSize, _cache.BlockSize);
            sequence.Node = _cache.Insert(sequence.Root!, sequence.Node, tokens, sequence.Blocks[index]);
        }
    }

    private int BlocksFor(int tokens) => (tokens + _cache.BlockSize - 1) / _cache.BlockSize;

    private static void InsertByAge(List<Sequence> list, Sequence sequence)
    {
        int place = list.Count;
        while (place > 0 && list[place - 1].Id > sequence.Id)
        {
            place--;
        }

        list.Insert(place, sequence);
    }
}
