using System.Diagnostics;
using System.Globalization;
using InferenceServer.AdapterStore.Cache;
using InferenceServer.Engine.Requests;
using InferenceServer.TestKit.Workloads;

namespace InferenceServer.Benchmarks.Gpu.Models;

/// <summary>Requests that come one after the other, 32 at once, over five adapters and over a thousand, in turn.</summary>
internal static class ManyAdaptersStage
{
    public const string ManyOfFew = "many adapters over five";

    private const int Few = 5;
    private const int Concurrency = 32;
    private const int RequestsEach = 4;
    private const int PromptTokens = 32;
    private const int NewTokens = 64;

    public static async Task RunAsync(StageRun run)
    {
        ModelDimensions shape = run.Options.TenantShape;
        await using GpuServer server = await GpuServer.StartAsync(
            run, shape, kvTokens: null, "--adapter-device-memory", "48GiB", "--adapter-host-memory", "1GiB", "--keep-versions", "1");
        int many = server.AddAdapters(0, run.Options.Adapters, () => run.Has(0.45));
        if (many <= Few)
        {
            run.Skip(shape.Name, ManyOfFew, $"only {many} adapters were made in time");
            return;
        }

        // A thousand that all fit on the device are brought there before anything counts; those that do not fit are loaded while it does.
        long start = Stopwatch.GetTimestamp();
        int loaded = 0;
        await Parallel.ForEachAsync(Enumerable.Range(0, many), new ParallelOptions { MaxDegreeOfParallelism = 4 }, async (number, cancellation) =>
        {
            if (run.Has(0.25))
            {
                await server.Cache.PreloadAsync(server.AdapterId(number), cancellation);
                Interlocked.Increment(ref loaded);
            }
        });
        double seconds = Stopwatch.GetElapsedTime(start).TotalSeconds;
        run.Record(
            shape.Name,
            "adapters loaded onto the device",
            loaded / seconds,
            "adapters/s",
            note: string.Create(CultureInfo.InvariantCulture, $"{loaded} of {2 * shape.AdapterParameters(AdapterFiles.Rank) / 1e6:F1} MB, from files"));
        Random random = new(9);
        Alternation ways = new(("few", () => ServeAsync(server, Few, random)), ("many", () => ServeAsync(server, many, random)));
        AdapterCacheStatistics before = server.Cache.GetStatistics();
        await ways.RunAsync(run.Options.Rounds, () => run.Has(0.05));
        AdapterCacheStatistics after = server.Cache.GetStatistics();
        string note = string.Create(
            CultureInfo.InvariantCulture,
            $"{many} adapters; {Concurrency} requests at once, prompts of {PromptTokens}, {shape.Tokens(NewTokens)} new tokens; {after.DeviceHits - before.DeviceHits} found on the device, {after.DiskLoads - before.DiskLoads} loaded from files; median of {ways.Rounds} rounds");
        run.Record(shape.Name, "five adapters", ways.Median("few"), "tokens/s", note: note);
        run.Record(shape.Name, "many adapters", ways.Median("many"), "tokens/s", note: note);
        run.Record(shape.Name, ManyOfFew, ways.Ratio("many", "few"), "of 1", note: note);
    }

    /// <summary>New tokens per second of requests, the next one as soon as one has ended.</summary>
    private static async Task<double> ServeAsync(GpuServer server, int adapters, Random random)
    {
        int newTokens = server.Shape.Tokens(NewTokens);
        int[] dealt = AdapterWorkload.Deal(AdapterPopularity.Distinct, Concurrency * RequestsEach, adapters, random.Next());
        GenerationRequest[] requests =
            [.. dealt.Select(number => StreamRun.Request(AdapterFiles.NameOf(number), PromptTokens, newTokens, random, server.Shape.Vocabulary))];
        int next = -1;
        long start = Stopwatch.GetTimestamp();
        await Task.WhenAll(Enumerable.Range(0, Concurrency).Select(async _ =>
        {
            await Task.Yield();
            for (int i = Interlocked.Increment(ref next); i < requests.Length; i = Interlocked.Increment(ref next))
            {
                await StreamRun.ReadAsync(server.Engine, requests[i], []);
            }
        }));
        return requests.Length * newTokens / Stopwatch.GetElapsedTime(start).TotalSeconds;
    }
}
