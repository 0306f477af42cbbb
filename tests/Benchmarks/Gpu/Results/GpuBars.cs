using InferenceServer.Benchmarks.Gpu.Conformance;
using InferenceServer.Benchmarks.Gpu.Models;
using InferenceServer.Benchmarks.Gpu.Peer;

namespace InferenceServer.Benchmarks.Gpu.Results;

/// <summary>What is asked of a large device (an H200), and what the results say to it.</summary>
internal static class GpuBars
{
    private const string Large = "llama-3-8b";

    // Rates of one run differ by so much anyway.
    private const double SameSpeed = 0.98;

    public static IReadOnlyList<GpuBar> Of(IReadOnlyList<GpuResult> results)
    {
        double Value(string stage, string what, string? subject = null) =>
            results.LastOrDefault(result => result.Stage == stage && result.What == what && (subject is null || result.Subject == subject))?.Value ?? double.NaN;
        double Share(string stage, string what, string? subject = null) =>
            results.LastOrDefault(result => result.Stage == stage && result.What == what && (subject is null || result.Subject == subject))?.Share ?? double.NaN;
        GpuBar AtLeast(string name, double asked, double seen, string how) => new(name, asked, AtMost: false, seen, how);
        GpuBar AtMost(string name, double asked, double seen, string how) => new(name, asked, AtMost: true, seen, how);
        return
        [
            AtLeast("conformance on the device", 1, Share("conformance", ConformanceStage.Passed), "tests passed of those run"),
            AtLeast("greedy tokens as the CPU's, on the fixtures", 1, Value("fixtures", FixtureStage.AsCpu, FixtureStage.All), "tokens equal, or where the two best are nearer than bf16 tells apart"),
            AtLeast("same tokens without graphs", 1, Value("fixtures", FixtureStage.AsGraphs, FixtureStage.All), "tokens equal"),
            AtLeast("8 B decode, batch 1", 0.8, Share("speed", SpeedStage.Decode(1), Large), "of the copy bandwidth, weights and KV counted"),
            AtLeast("8 B decode, batch 64", 0.7, Share("speed", SpeedStage.Decode(64), Large), "of the copy bandwidth or the product's rate, whichever bounds"),
            AtLeast("8 B prefill of 2048", 0.6, Share("speed", SpeedStage.Prefill(2048), Large), "of cuBLASLt's largest rate"),
            AtLeast("32 adapters of rank 16 at batch 32", 0.92, Value("tenants", "distinct, " + TenantStage.OfBase), "of the base's tokens/s"),
            AtLeast("Distinct over Identical", 0.97, Value("tenants", TenantStage.DistinctOfIdentical), "tokens/s"),
            AtLeast("1000 adapters over 5", 0.97, Value("many", ManyAdaptersStage.ManyOfFew), "tokens/s"),
            AtLeast("PEFT's mixed batch of 32 adapters", 20, Value("peer", PeerStage.MixedRatio), "times its tokens/s"),
            AtMost("largest step while cold adapters arrive", 1.1, Value("churn", ChurnStage.LargestStep), "times that with resident ones"),
            AtLeast("merged tenant as fast as the base", SameSpeed, Value("tenants", TenantStage.Merged), "tokens/s; 0.98 counts as the same"),
            AtLeast("fine-tuning step over PEFT's", 1.3, Value("training", TrainingStage.SpeedRatio), "times its tokens/s"),
            AtMost("memory of fine-tuning over PEFT's", 1, Value("training", TrainingStage.MemoryRatio), "times its bytes"),
        ];
    }
}
