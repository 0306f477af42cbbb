using InferenceServer.AdapterStore.Cache;
using InferenceServer.Protocol.V1;
using InferenceServer.TestKit.Workloads;

namespace InferenceServer.Benchmarks.Load;

/// <summary>
/// The whole server under load through the real client: batches of requests that spread over adapters in different ways, in turn in the
/// same run, so that a noisy machine troubles all alike and their ratios count.
/// </summary>
internal static class LoadBenchmark
{
    public static async Task RunAsync(string[] arguments)
    {
        LoadOptions options = LoadOptions.Parse(arguments);
        await using LoadServer server = await LoadServer.StartAsync(options);
        LoadSlice slice = new(server.Client, options);
        PopularityResult[] results = [.. Enum.GetValues<AdapterPopularity>().Select(popularity => new PopularityResult(popularity))];
        Random prompts = new(options.Seed);

        // Not recorded: code is compiled and adapters are brought onto the device.
        await RoundAsync(results, round: -1, record: false);
        string loadBefore = Machine.LoadAverage();
        for (int round = 0; round < options.Rounds; round++)
        {
            // There and back again, so that none is always the one after the same.
            await RoundAsync(round % 2 == 0 ? results : Enumerable.Reverse(results), round, record: true);
        }

        ServerInfo info = await server.InfoAsync();
        string report = LoadReport.Write(options, arguments, info, results, loadBefore);
        Console.Write(report);
        if (options.Output is not null)
        {
            await File.WriteAllTextAsync(options.Output, report);
        }

        async Task RoundAsync(IEnumerable<PopularityResult> order, int round, bool record)
        {
            foreach (PopularityResult result in order)
            {
                int[] adapters = AdapterWorkload.Deal(
                    result.Popularity, options.Concurrency, options.Adapters, unchecked(options.Seed + (1000 * round)));
                AdapterCacheStatistics before = server.AdapterStatistics;
                (double seconds, RequestTiming[] requests) = await slice.RunAsync(adapters, prompts);
                if (record)
                {
                    double tokensPerSecond = (double)options.Concurrency * options.OutputTokens / seconds;
                    result.Add(tokensPerSecond, requests, before, server.AdapterStatistics);
                }
            }
        }
    }
}
