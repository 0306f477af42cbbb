using InferenceServer.Engine.KvBlocks;
using InferenceServer.Engine.Requests;

namespace InferenceServer.Engine.Scheduling;

/// <summary>
/// One generation as the scheduler sees it: its tokens, how many of them are in the KV cache, and its blocks. The scheduler's thread
/// writes; another thread may read <see cref="Tokens"/> up to a <see cref="TokenCount"/> that it has read before: tokens are only
/// ever appended, also across a preemption.
/// </summary>
public class Sequence
{
    private readonly int[] _tokens;
    private readonly int[] _endTokens;
    private int[] _blocks = [];
    private int _tokenCount;

    /// <param name="id">Order of arrival.</param>
    /// <param name="promptTokens">At least one token.</param>
    /// <param name="maxNewTokens">At least 1; the sequence ends with <see cref="FinishReason.Length"/> when it has as many.</param>
    /// <param name="stack">Its adapters.</param>
    /// <param name="endTokens">Tokens that end it with <see cref="FinishReason.Stop"/>.</param>
    /// <param name="minNewTokens">Before so many new tokens an end token ends nothing (the sampler does not draw one either).</param>
    public Sequence(
        SequenceId id,
        ReadOnlySpan<int> promptTokens,
        int maxNewTokens,
        AdapterStack stack,
        IReadOnlyCollection<int>? endTokens = null,
        int minNewTokens = 0)
    {
        ArgumentOutOfRangeException.ThrowIfZero(promptTokens.Length);
        ArgumentOutOfRangeException.ThrowIfLessThan(maxNewTokens, 1);
        Id = id;
        Stack = stack;
        PromptLength = promptTokens.Length;
        MaxNewTokens = maxNewTokens;
        MinNewTokens = minNewTokens;
        _endTokens = endTokens is null ? [] : [.. endTokens];
        _tokens = new int[checked(promptTokens.Length + maxNewTokens)];
        promptTokens.CopyTo(_tokens);
        _tokenCount = promptTokens.Length;
    }

    public SequenceId Id { get; }

    public AdapterStack Stack { get; }

    public int PromptLength { get; }

    public int MaxNewTokens { get; }

    public int MinNewTokens { get; }

    public ReadOnlySpan<int> EndTokens => _endTokens;

    public SequenceState State { get; internal set; }

    /// <summary>Why it ended in order; <see cref="FinishReason.None"/> until then, and for good when it was removed.</summary>
    public FinishReason FinishReason { get; internal set; }

    /// <summary>Tokens known, prompt and new ones.</summary>
    public int TokenCount => Volatile.Read(ref _tokenCount);

    public int NewTokenCount => TokenCount - PromptLength;

    /// <summary>Tokens whose keys and values are in the cache.</summary>
    public int ComputedTokens { get; internal set; }

    /// <summary>Tokens still to compute before the next one can be sampled; 1 while decoding.</summary>
    public int PendingTokens => TokenCount - ComputedTokens;

    /// <summary>Most tokens it can ever hold in the cache; the last new token is never computed.</summary>
    public int MaxCachedTokens => _tokens.Length - 1;

    public ReadOnlySpan<int> Tokens => _tokens.AsSpan(0, TokenCount);

    /// <summary>Its KV blocks, in order.</summary>
    public ReadOnlySpan<int> Blocks => _blocks.AsSpan(0, BlockCount);

    /// <summary>Prompt tokens found in the prefix cache at its first admission.</summary>
    public int CachedPromptTokens { get; internal set; }

    /// <summary>How often it lost its blocks and began again.</summary>
    public int Preemptions { get; internal set; }

    /// <summary>Whether it has been in a step.</summary>
    public bool HasRun { get; internal set; }

    internal int BlockCount { get; private set; }

    /// <summary>Tokens of it in the step being planned.</summary>
    internal int PlannedTokens { get; set; }

    /// <summary>Younger sequences admitted past it.</summary>
    internal int Skips { get; set; }

    // Its place in the prefix cache: the chain of its first registered blocks, and the base state that they were computed on.
    internal PrefixRoot? Root { get; set; }

    internal long Node { get; set; }

    internal int RegisteredBlocks { get; set; }

    internal int BaseSwitches { get; set; }

    internal void ReserveBlockTable(int blockCount)
    {
        if (_blocks.Length < blockCount)
        {
            Array.Resize(ref _blocks, blockCount);
        }
    }

    internal void AddBlock(int block) => _blocks[BlockCount++] = block;

    internal int RemoveLastBlock() => _blocks[--BlockCount];

    internal Span<int> BlockBuffer => _blocks;

    internal void Append(int token)
    {
        _tokens[_tokenCount] = token;
        Volatile.Write(ref _tokenCount, _tokenCount + 1);
    }

    /// <summary>Whether a token ends the sequence when it is the new token of this number, counted from 1.</summary>
    public bool IsEnd(int token, int newTokenNumber) => newTokenNumber >= MinNewTokens && Array.IndexOf(_endTokens, token) >= 0;
}
