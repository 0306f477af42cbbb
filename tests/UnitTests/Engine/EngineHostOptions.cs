using InferenceServer.Cpu;
using InferenceServer.Engine.Merging;
using InferenceServer.Engine.Scheduling;
using InferenceServer.Tensors;
using InferenceServer.TestKit.TinyModel;

namespace InferenceServer.UnitTests.Engine;

/// <summary>What a test may want otherwise.</summary>
internal sealed record EngineHostOptions
{
    public SchedulerOptions Scheduler { get; init; } = new() { MaxBatchTokens = 64, MaxRunningSequences = 16, KvBlockSize = 8 };

    public MergeOptions Merge { get; init; } = new();

    public int KvBlocks { get; init; } = 256;

    /// <summary>What KV blocks and adapters share, where the backend can; then there is no <see cref="KvBlocks"/>.</summary>
    public long? SharedBytes { get; init; }

    /// <summary>Makes the backend; null for the CPU's.</summary>
    public Func<HookedBackend>? CreateBackend { get; init; }

    /// <summary>Longest sequence; null for the model's own limit.</summary>
    public int? MaxModelLength { get; init; }

    public long AdapterBytes { get; init; } = 1 << 24;

    /// <summary>How products are formed.</summary>
    public CpuProducts Products { get; init; }

    public WeightFormat Weights { get; init; } = WeightFormat.F32;

    /// <summary>Whether the backend draws the tokens.</summary>
    public bool DrawsByBackend { get; init; }

    public TimeProvider? Time { get; init; }
}
