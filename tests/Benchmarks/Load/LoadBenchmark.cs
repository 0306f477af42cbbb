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
    // Rounds in which others computed are done again, but not for ever.
    private const int MaxAttempts = 3;

    public static async Task RunAsync(string[] arguments)
    {
        LoadOptions options = LoadOptions.Parse(arguments);
        foreach (string rank in options.Ranks)
        {
            await using LoadServer server = await LoadServer.StartAsync(options, rank);
            string report = options.Cold
                ? await new ColdAdapters(server, options, rank).RunAsync(arguments)
                : await SpreadAsync(server, options, rank, arguments);
            Console.Write(report);
            if (options.Output is not null)
            {
                await File.AppendAllTextAsync(options.Output, report);
            }
        }
    }

    private static async Task<string> SpreadAsync(LoadServer server, LoadOptions options, string rank, string[] arguments)
    {
        LoadSlice slice = new(server.Client, options);
        LoadResult[] results = Rows(options);
        Random prompts = new(options.Seed);

        // Not recorded: code is compiled and adapters are brought onto the device.
        await RoundAsync(results, round: -1, record: false);
        string loadBefore = Machine.LoadAverage();
        for (int round = 0; round < MaxAttempts * options.Rounds && results.Any(result => result.Rounds < options.Rounds); round++)
        {
            // There and back again, so that none is always the one after the same.
            await RoundAsync(round % 2 == 0 ? results : results.Reverse(), round, record: true);
        }

        ServerInfo info = await server.InfoAsync();
        return LoadReport.Write(options, rank, arguments, info, results, loadBefore);

        async Task RoundAsync(IEnumerable<LoadResult> order, int round, bool record)
        {
            await ProcessorUse.WaitForQuietAsync();
            foreach (LoadResult result in order)
            {
                int[] adapters = AdapterWorkload.Deal(
                    result.Popularity, options.Requests, result.Adapters, unchecked(options.Seed + (1000 * round)));
                if (result.IsMerged)
                {
                    await server.Client.Adapters.MergeAsync(LoadServer.AdapterName(0));
                }

                AdapterCacheStatistics before = server.AdapterStatistics;
                ProcessorUse use = ProcessorUse.Read();
                (double seconds, RequestTiming[] requests) = await slice.RunAsync(adapters, prompts);
                double others = ProcessorUse.Read().OtherCoresSince(use);
                if (result.IsMerged)
                {
                    await server.Client.Adapters.UnmergeAsync();
                }

                if (!record)
                {
                    continue;
                }

                if (others >= ProcessorUse.MaxOtherCores && !options.CountsBusyRounds)
                {
                    result.Drop();
                    continue;
                }

                result.Add(round, (double)options.Requests * options.OutputTokens / seconds, others, requests, before, server.AdapterStatistics);
            }
        }
    }

    /// <summary>The base once, and one adapter merged, with its own requests and with the base's; of one adapter, the shapes that spread requests are all the same as Identical.</summary>
    private static LoadResult[] Rows(LoadOptions options)
    {
        IEnumerable<LoadResult> spread = options.Adapters.SelectMany(adapters => options.Workloads
            .Where(popularity => popularity != AdapterPopularity.Base && (adapters > 1 || popularity == AdapterPopularity.Identical))
            .Select(popularity => new LoadResult(popularity, adapters)));
        IEnumerable<LoadResult> merged = options.Merged
            ? [new LoadResult(AdapterPopularity.Identical, 1, isMerged: true), new LoadResult(AdapterPopularity.Base, 1, isMerged: true)]
            : [];
        return [new LoadResult(AdapterPopularity.Base, options.Adapters.Max()), .. spread, .. merged];
    }
}
