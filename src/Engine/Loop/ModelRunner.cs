using InferenceServer.Engine.KvBlocks;
using InferenceServer.Engine.Merging;
using InferenceServer.Engine.Scheduling;
using InferenceServer.Engine.Streaming;
using InferenceServer.Models.Transformer;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Memory;
using InferenceServer.Tensors.Sampling;
using InferenceServer.Tensors.Steps;

namespace InferenceServer.Engine.Loop;

/// <summary>
/// Runs a plan: fills the step's integers, one forward, one draw for each sampled row. Belongs to the loop's thread; a warm run allocates
/// nothing.
/// </summary>
internal sealed class ModelRunner : IDisposable
{
    private readonly TransformerModel _model;
    private readonly IComputeBackend _backend;
    private readonly KvCache _cache;
    private readonly ChunkBudget? _chunks;
    private readonly StepInputs _step;
    private readonly StepSampler _sampler;

    /// <param name="model">The model.</param>
    /// <param name="backend">Where it runs.</param>
    /// <param name="options">Limits of a step.</param>
    /// <param name="memory">The KV cache; its own from now on.</param>
    public ModelRunner(TransformerModel model, IComputeBackend backend, SchedulerOptions options, KvMemory memory)
    {
        _model = model;
        _backend = backend;
        _cache = memory.Cache;
        _chunks = memory.Chunks;
        _step = new StepInputs(options.MaxBatchTokens, options.MaxRunningSequences);
        _sampler = new StepSampler(backend, model.Config.VocabularySize, options.MaxRunningSequences);
    }

    /// <summary>The adapter in the base weights; null for none.</summary>
    public MergedState? Merged { get; private set; }

    /// <summary>Device bytes of the KV cache.</summary>
    public long CacheBytes => _cache.ByteCount;

    /// <summary>By planned sequence: the token drawn, -1 where there is none.</summary>
    public ReadOnlySpan<int> Tokens => _sampler.Tokens;

    /// <summary>By planned sequence; meaningful where it is sampled.</summary>
    public ReadOnlySpan<SampleStatus> Statuses => _sampler.Statuses;

    /// <summary>Changes the base between two steps; on an exception the base is unmerged.</summary>
    public void ChangeBase(MergedState? merged)
    {
        Merged = null;
        _model.RemoveFolded();
        if (merged is null)
        {
            return;
        }

        try
        {
            _model.Install(merged.Folded);
            Merged = merged;
        }
        catch
        {
            _model.RemoveFolded();
            throw;
        }
    }

    /// <summary>Runs a plan.</summary>
    /// <param name="plan">The step.</param>
    /// <param name="freshChunks">Chunks of a shared memory that blocks have not been used in yet; cleared, and the list emptied.</param>
    public void Run(StepPlan plan, List<int> freshChunks)
    {
        Fill(plan);
        _sampler.Prepare(plan, _step.Sampling);
        try
        {
            Clear(freshChunks);
            _sampler.Run(plan, _model.Forward(_step, _cache));
        }
        catch
        {
            // Sequences lose their blocks and adapters now: nothing may write there any more.
            _backend.AbandonStep();
            throw;
        }
    }

    /// <summary>Lets go of everything that a step refers to, so that an idle engine keeps no adapter alive.</summary>
    public void Clear() => _step.Clear();

    public void Dispose()
    {
        _step.Clear();
        _cache.Dispose();
    }

    // What lies between heads is read, and another's bytes may be NaN.
    private void Clear(List<int> chunks)
    {
        for (int i = 0; i < chunks.Count;)
        {
            int end = i + 1;
            while (end < chunks.Count && chunks[end] == chunks[end - 1] + 1)
            {
                end++;
            }

            ((ISharedMemoryBackend)_backend).ClearBlocks(_cache, chunks[i] * _chunks!.BlocksPerChunk, (end - i) * _chunks.BlocksPerChunk);
            i = end;
        }

        chunks.Clear();
    }

    private void Fill(StepPlan plan)
    {
        _step.Clear();
        AdapterStack? lastStack = null;
        AdapterStack? lastSampledStack = null;
        foreach (ref readonly PlannedSequence item in plan.Sequences)
        {
            Generation generation = (Generation)item.Sequence;
            int row = _step.AddSequence(generation.Tokens.Slice(item.FirstPosition, item.TokenCount), item.FirstPosition, generation.Blocks);
            int sampled = item.IsSampled ? _step.AddSampledRow(row + item.TokenCount - 1) : -1;
            AddAdapters(_step.Lora, generation, row, item.TokenCount, generation.Stack.Equals(lastStack));
            AddRestored(_step.Restore, generation.Stack, row, item.TokenCount);
            lastStack = generation.Stack;
            if (sampled >= 0)
            {
                AddAdapters(_step.SampledLora, generation, sampled, 1, generation.Stack.Equals(lastSampledStack));
                AddRestored(_step.SampledRestore, generation.Stack, sampled, 1);
                lastSampledStack = generation.Stack;
            }
        }
    }

    private void AddAdapters(LoraBatch batch, Generation generation, int first, int count, bool isSameStack)
    {
        bool isMergedTenant = Merged is not null && generation.Stack.Equals(Merged.Stack);
        if (generation.Stack.IsBase || (isMergedTenant && Merged!.Residual is null))
        {
            return;
        }

        if (isSameStack)
        {
            batch.ExtendGroup(count);
            return;
        }

        batch.BeginGroup(first, count);
        if (isMergedTenant)
        {
            batch.AddEntry(Merged!.Residual!, 1f);
            return;
        }

        for (int i = 0; i < generation.Adapters.Length; i++)
        {
            batch.AddEntry(generation.Adapters[i], generation.Stack.Adapters[i].Weight);
        }
    }

    private void AddRestored(LoraBatch batch, AdapterStack stack, int first, int count)
    {
        if (Merged is null || stack.Equals(Merged.Stack))
        {
            return;
        }

        if (EndsAt(batch, first))
        {
            batch.ExtendGroup(count);
            return;
        }

        batch.BeginGroup(first, count);
        batch.AddEntry(Merged.Inverse!, 1f);
    }

    private static bool EndsAt(LoraBatch batch, int row)
    {
        ReadOnlySpan<LoraGroup> groups = batch.Groups;
        return !groups.IsEmpty && groups[^1].FirstRow + groups[^1].RowCount == row;
    }
}
