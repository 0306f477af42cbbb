using System.Globalization;
using InferenceServer.TestKit.Workloads;

namespace InferenceServer.Benchmarks.Gpu.Models;

/// <summary>What adapters cost a batch of 32: as they spread over the requests, in turn with the base alone; and one adapter merged.</summary>
internal static class TenantStage
{
    public const int Batch = 32;

    public const string OfBase = "of the base's tokens/s";

    public const string DistinctOfIdentical = "distinct over identical";

    public const string Merged = "merged tenant over base";

    private const int PromptTokens = 32;
    private const int NewTokens = 256;
    private const double MergingShare = 0.25;

    public static async Task RunAsync(StageRun run)
    {
        ModelDimensions shape = run.Options.TenantShape;
        await using GpuServer server = await GpuServer.StartAsync(
            run, shape, kvTokens: null, "--adapter-device-memory", "4GiB", "--merge-weights", "bf16");
        server.AddAdapters(0, Batch, () => run.Has(0.5));
        foreach (int number in Enumerable.Range(0, Batch))
        {
            await server.Cache.PreloadAsync(server.AdapterId(number));
        }

        await run.TryAsync(shape.Name, () => SpreadAsync(run, server));
        await run.TryAsync(shape.Name, () => MergeAsync(run, server));
    }

    private static async Task SpreadAsync(StageRun run, GpuServer server)
    {
        AdapterPopularity[] spreads = Enum.GetValues<AdapterPopularity>();
        Random random = new(5);
        Alternation ways = new([.. spreads.Select(spread => (spread.ToString(), (Func<Task<double>>)(() => DecodeAsync(server, Dealt(spread), random))))]);
        await ways.RunAsync(run.Options.Rounds, () => run.Has(MergingShare));
        string note = string.Create(CultureInfo.InvariantCulture, $"batch {Batch}, rank {AdapterFiles.Rank} on all linear modules, median of {ways.Rounds} rounds");
        string alone = nameof(AdapterPopularity.Base);
        foreach (AdapterPopularity spread in spreads)
        {
            string name = spread.ToString();
            run.Record(server.Shape.Name, $"{name.ToLowerInvariant()}, tokens", ways.Median(name), "tokens/s", note: note);
            if (spread != AdapterPopularity.Base)
            {
                run.Record(server.Shape.Name, $"{name.ToLowerInvariant()}, {OfBase}", ways.Ratio(name, alone), "of 1", note: note);
            }
        }

        run.Record(
            server.Shape.Name, DistinctOfIdentical, ways.Ratio(nameof(AdapterPopularity.Distinct), nameof(AdapterPopularity.Identical)), "of 1", note: note);
    }

    private static async Task MergeAsync(StageRun run, GpuServer server)
    {
        Random random = new(7);
        string tenant = AdapterFiles.NameOf(0);
        Alternation ways = new(
            ("base", () => DecodeAsync(server, [.. Enumerable.Repeat("", Batch)], random)),
            ("merged", async () =>
            {
                await server.Client.Adapters.MergeAsync(tenant);
                double rate = await DecodeAsync(server, [.. Enumerable.Repeat(tenant, Batch)], random);
                await server.Client.Adapters.UnmergeAsync(tenant);
                return rate;
            }
        ));
        await ways.RunAsync(Math.Min(3, run.Options.Rounds), () => run.Has(0.05));
        run.Record(
            server.Shape.Name,
            Merged,
            ways.Ratio("merged", "base"),
            "of 1",
            note: string.Create(CultureInfo.InvariantCulture, $"batch {Batch}, merged in bf16 and unmerged in turn, median of {ways.Rounds} rounds"));
    }

    private static string[] Dealt(AdapterPopularity spread) =>
        [.. AdapterWorkload.Deal(spread, Batch, Batch, seed: 1).Select(number => number < 0 ? "" : AdapterFiles.NameOf(number))];

    private static async Task<double> DecodeAsync(GpuServer server, string[] adapters, Random random) =>
        (await StreamRun.RunAsync(server.Engine, adapters, PromptTokens, server.Shape.Tokens(NewTokens), random, server.Shape.Vocabulary)).TokensPerSecond;
}
