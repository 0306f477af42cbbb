using InferenceServer.Cpu;
using InferenceServer.Engine.Merging;
using InferenceServer.Engine.Scheduling;
using InferenceServer.Tensors;

namespace InferenceServer.UnitTests.Engine;

/// <summary>What a test may want otherwise.</summary>
internal sealed record EngineHostOptions
{
    public SchedulerOptions Scheduler { get; init; } = new() { MaxBatchTokens = 64, MaxRunningSequences = 16, KvBlockSize = 8 };

    public MergeOptions Merge { get; init; } = new();

    public int KvBlocks { get; init; } = 256;

    public long AdapterBytes { get; init; } = 1 << 24;

    /// <summary>How products are formed.</summary>
    public CpuProducts Products { get; init; }

    public WeightFormat Weights { get; init; } = WeightFormat.F32;

    /// <summary>Whether the backend draws the tokens.</summary>
    public bool DrawsByBackend { get; init; }

    public TimeProvider? Time { get; init; }
}
