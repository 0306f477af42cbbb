using System.Runtime.InteropServices;

namespace InferenceServer.TestKit.Cuda;

/// <summary>What the stand-in has counted; the fields are those of <c>Counters</c> in tests/CudaStandIn/driver/state.h.</summary>
[StructLayout(LayoutKind.Sequential)]
public readonly record struct StandInCounters
{
    /// <summary>Calls of cuLaunchKernel outside of a capture.</summary>
    public long Launches { get; init; }

    /// <summary>Kernels that ran, those of graphs included.</summary>
    public long KernelsRun { get; init; }

    public long GraphLaunches { get; init; }

    public long MatMulsRun { get; init; }

    public long CopiesUp { get; init; }

    public long BytesUp { get; init; }

    public long CopiesDown { get; init; }

    public long BytesDown { get; init; }

    public long CopiesWithin { get; init; }

    public long BytesWithin { get; init; }

    /// <summary>Memsets that ran.</summary>
    public long Fills { get; init; }

    public long Allocations { get; init; }

    public long Frees { get; init; }

    public long LiveAllocations { get; init; }

    public long LiveBytes { get; init; }

    public long PeakBytes { get; init; }

    /// <summary>Blocks of pinned host memory that are alive.</summary>
    public long PinnedAllocations { get; init; }

    public long Synchronizations { get; init; }

    public long ModulesAlive { get; init; }

    public long StreamsAlive { get; init; }

    public long EventsAlive { get; init; }

    public long GraphsAlive { get; init; }
}
