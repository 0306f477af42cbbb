using InferenceServer.Benchmarks.Gpu.Conformance;
using InferenceServer.Benchmarks.Gpu.Device;
using InferenceServer.Benchmarks.Gpu.Kernels;
using InferenceServer.Benchmarks.Gpu.Models;
using InferenceServer.Benchmarks.Gpu.Peer;

namespace InferenceServer.Benchmarks.Gpu;

/// <summary>A part of the benchmark, which runs in a process of its own: what one breaks or how long it takes is no other's matter.</summary>
/// <param name="Name">Name in options and results.</param>
/// <param name="Seconds">Its time where the options name none; the sum of all is about 24 minutes.</param>
/// <param name="RunAsync">Measures, and records each result as soon as there is one.</param>
internal sealed record GpuStage(string Name, int Seconds, Func<StageRun, Task> RunAsync)
{
    public static IReadOnlyList<GpuStage> All { get; } =
    [
        new("device", 40, DeviceStage.RunAsync),
        new("conformance", 180, ConformanceStage.RunAsync),
        new("fixtures", 60, FixtureStage.RunAsync),
        new("kernels", 120, KernelStage.RunAsync),
        new("speed", 270, SpeedStage.RunAsync),
        new("tenants", 150, TenantStage.RunAsync),
        new("many", 195, ManyAdaptersStage.RunAsync),
        new("churn", 80, ChurnStage.RunAsync),
        new("training", 120, TrainingStage.RunAsync),
        new("peer", 215, PeerStage.RunAsync),
    ];

    /// <summary>A stage of <see cref="All"/>.</summary>
    public static GpuStage Named(string name) => All.Single(stage => stage.Name == name);
}
