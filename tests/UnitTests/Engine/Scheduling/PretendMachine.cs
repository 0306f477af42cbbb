using InferenceServer.Engine.KvBlocks;
using InferenceServer.Engine.Scheduling;
using Xunit;

namespace InferenceServer.UnitTests.Engine.Scheduling;

/// <summary>
/// Runs plans without a model: its KV cache holds the tokens themselves, so that it can check that every sequence finds in its blocks
/// exactly what it computed, or what an equal sequence computed before. The next token is a function of all tokens and the adapters.
/// </summary>
internal sealed class PretendMachine
{
    public const int Vocabulary = 50;

    private readonly SchedulerOptions _options;
    private readonly (int Token, AdapterStack? Stack, int BaseState)[] _cache;

    public PretendMachine(SchedulerOptions options, int blockCount)
    {
        _options = options;
        _cache = new (int, AdapterStack?, int)[blockCount * options.KvBlockSize];
    }

    /// <summary>What the base weights are now; what was computed on another state may be read only by a sequence that computed it itself.</summary>
    public int BaseState { get; set; }

    /// <summary>Whether a block may be read and written now; null for all.</summary>
    public Func<int, bool>? MayUse { get; set; }

    /// <summary>Somebody else has written over blocks.</summary>
    public void Spoil(int firstBlock, int count) =>
        Array.Fill(_cache, (-1, null, -1), firstBlock * _options.KvBlockSize, count * _options.KvBlockSize);

    public int[] Run(StepPlan plan, IReadOnlyList<Sequence> running)
    {
        Assert.InRange(plan.TokenCount, 0, _options.MaxBatchTokens);
        Assert.InRange(plan.Sequences.Length, 0, _options.MaxRunningSequences);
        Dictionary<int, Sequence> writers = [];
        foreach (PlannedSequence item in plan.Sequences)
        {
            Store(item, writers);
        }

        foreach (Sequence sequence in running)
        {
            foreach (int block in sequence.Blocks)
            {
                Assert.True(
                    !writers.TryGetValue(block, out Sequence? writer) || ReferenceEquals(writer, sequence),
                    $"block {block} is written by sequence {writer?.Id} and held by {sequence.Id}");
            }
        }

        int[] sampled = new int[plan.Sequences.Length];
        for (int i = 0; i < sampled.Length; i++)
        {
            Check(plan.Sequences[i]);
            sampled[i] = plan.Sequences[i].IsSampled ? Next(plan.Sequences[i].Sequence.Tokens, plan.Sequences[i].Sequence.Stack) : -1;
        }

        return sampled;
    }

    /// <summary>What a sequence generates when nothing else exists.</summary>
    public static List<int> Alone(IEnumerable<int> prompt, int maxNewTokens, AdapterStack stack, int? endToken)
    {
        List<int> tokens = [.. prompt];
        int promptLength = tokens.Count;
        do
        {
            tokens.Add(Next([.. tokens], stack));
        }
        while (tokens.Count - promptLength < maxNewTokens && tokens[^1] != endToken);
        return tokens;
    }

    private static int Next(ReadOnlySpan<int> tokens, AdapterStack stack)
    {
        uint hash = 2166136261;
        foreach (int token in tokens)
        {
            hash = (hash ^ (uint)token) * 16777619;
        }

        foreach (StackedAdapter adapter in stack.Adapters)
        {
            hash = (hash ^ (uint)adapter.Id.Digest[0] ^ BitConverter.SingleToUInt32Bits(adapter.Weight)) * 16777619;
        }

        return (int)((hash ^ (hash >> 15)) % Vocabulary);
    }

    private void Store(PlannedSequence item, Dictionary<int, Sequence> writers)
    {
        Assert.InRange(item.TokenCount, 1, item.Sequence.TokenCount - item.FirstPosition);
        Assert.Equal(item.FirstPosition + item.TokenCount == item.Sequence.TokenCount, item.IsSampled);
        for (int i = item.FirstPosition; i < item.FirstPosition + item.TokenCount; i++)
        {
            int block = item.Sequence.Blocks[i / _options.KvBlockSize];
            Assert.True(MayUse?.Invoke(block) ?? true, $"block {block} is not the cache's");
            Assert.True(writers.TryAdd(block, item.Sequence) || ReferenceEquals(writers[block], item.Sequence), $"block {block} has two writers");
            _cache[Place(block, i)] = (item.Sequence.Tokens[i], item.Sequence.Stack, BaseState);
        }
    }

    private void Check(PlannedSequence item)
    {
        for (int i = 0; i < item.FirstPosition + item.TokenCount; i++)
        {
            Assert.True(MayUse?.Invoke(item.Sequence.Blocks[i / _options.KvBlockSize]) ?? true, "a block that is not the cache's is read");
            (int token, AdapterStack? stack, int baseState) = _cache[Place(item.Sequence.Blocks[i / _options.KvBlockSize], i)];
            Assert.Equal(item.Sequence.Tokens[i], token);
            Assert.Equal(item.Sequence.Stack, stack);

            // What a sequence found when it was admitted must come from the base as it is now.
            Assert.True(item.Sequence.HasRun || i >= item.FirstPosition || baseState == BaseState, $"position {i} was computed on base {baseState}");
        }
    }

    private int Place(int block, int position) => (block * _options.KvBlockSize) + (position % _options.KvBlockSize);
}
