using InferenceServer.Engine.Merging;

namespace InferenceServer.Engine;

/// <summary>The engine at one moment.</summary>
/// <param name="State">Whether it takes and runs requests.</param>
/// <param name="Running">Sequences that hold KV blocks.</param>
/// <param name="Waiting">Requests that wait for an adapter or for room, preempted ones included.</param>
/// <param name="KvBlocksUsed">KV blocks in use; those kept for prefixes only are not counted.</param>
/// <param name="KvBlocksTotal">KV blocks that there are; where adapters share their memory, that there can be.</param>
/// <param name="PromptTokens">Prompt tokens of all requests that ran.</param>
/// <param name="GenerationTokens">Tokens generated.</param>
/// <param name="PrefixQueryTokens">Tokens looked up in the prefix cache.</param>
/// <param name="PrefixHitTokens">Of these, found.</param>
/// <param name="Preemptions">Sequences that lost their KV blocks and were computed again.</param>
/// <param name="Steps">Steps run.</param>
/// <param name="Merged">The adapter folded into the base; null for none.</param>
/// <param name="SharedMemory">The memory that KV blocks share with adapters; null where they share none.</param>
public sealed record EngineSnapshot(
    EngineState State,
    int Running,
    int Waiting,
    int KvBlocksUsed,
    int KvBlocksTotal,
    long PromptTokens,
    long GenerationTokens,
    long PrefixQueryTokens,
    long PrefixHitTokens,
    long Preemptions,
    long Steps,
    MergedAdapter? Merged,
    SharedMemorySnapshot? SharedMemory);
