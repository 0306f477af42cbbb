using System.Diagnostics;
using System.Globalization;
using System.Text;
using InferenceServer.AdapterStore;
using InferenceServer.AdapterStore.Catalog;
using InferenceServer.Engine.Requests;
using InferenceServer.Engine.Streaming;
using InferenceServer.Protocol.V1;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Adapters;

namespace InferenceServer.Benchmarks.Load;

/// <summary>
/// What an adapter that is only on disk adds to its own request, and to the steps of the streams that run meanwhile: the same request beside the
/// same streams with the adapter resident, in the page cache and on the disk alone, in turn.
/// </summary>
internal sealed class ColdAdapters(LoadServer server, LoadOptions options, string rank)
{
    private const int MaxAttempts = 3;

    // Tokens that the others have before the request comes and while it lasts; they are cancelled after it.
    private const int LeadTokens = 12;
    private const int OtherTokens = 400;

    private static readonly string[] s_tiers = ["resident", "page cache", "disk"];

    private readonly Random _random = new(options.Seed);

    public async Task<string> RunAsync(string[] arguments)
    {
        int others = Math.Max(0, options.Concurrency - 1);
        List<ColdTrial>[] trials = [.. s_tiers.Select(_ => new List<ColdTrial>())];
        List<double> reads = [];
        int dropped = 0;
        string loadBefore = Machine.LoadAverage();
        await TrialAsync(tier: 0, Id(0), others);
        for (int round = 0; round < MaxAttempts * options.Rounds && trials.Any(tier => tier.Count < options.Rounds); round++)
        {
            AdapterId id = Id(round % options.Adapters.Max());
            await ProcessorUse.WaitForQuietAsync();
            for (int i = 0; i < s_tiers.Length; i++)
            {
                int tier = round % 2 == 0 ? i : s_tiers.Length - 1 - i;
                ProcessorUse before = ProcessorUse.Read();
                ColdTrial trial = await TrialAsync(tier, id, others);
                double read = tier == 2 ? ReadFromDisk(id) : double.NaN;
                if (ProcessorUse.Read().OtherCoresSince(before) >= ProcessorUse.MaxOtherCores && !options.CountsBusyRounds)
                {
                    dropped++;
                    continue;
                }

                trials[tier].Add(trial);
                if (tier == 2)
                {
                    reads.Add(read);
                }
            }
        }

        return Write(arguments, await server.InfoAsync(), trials, reads, LoadAlone(), dropped, others, loadBefore);
    }

    /// <summary>Median seconds of the two halves of a load, while nothing else runs: files to host memory, from the disk or not, and onto the device.</summary>
    private (double ReadFromDisk, double Read, double Place) LoadAlone()
    {
        List<double> fromDisk = [];
        List<double> read = [];
        List<double> place = [];
        for (int i = 0; i < options.Rounds; i++)
        {
            AdapterId id = Id(i % options.Adapters.Max());
            Forget(id);
            long start = Stopwatch.GetTimestamp();
            server.Catalog.LoadForDevice(id, CancellationToken.None).Release();
            fromDisk.Add(Stopwatch.GetElapsedTime(start).TotalSeconds);
            start = Stopwatch.GetTimestamp();
            AdapterWeights weights = server.Catalog.LoadForDevice(id, CancellationToken.None);
            read.Add(Stopwatch.GetElapsedTime(start).TotalSeconds);
            start = Stopwatch.GetTimestamp();
            using DeviceAdapter adapter = server.Backend.CreateAdapter(weights, WeightFormat.BF16);
            place.Add(Stopwatch.GetElapsedTime(start).TotalSeconds);
            weights.Release();
        }

        return (Statistics.Median(fromDisk), Statistics.Median(read), Statistics.Median(place));
    }

    private AdapterId Id(int number) => server.Catalog.Get(LoadServer.AdapterName(number)).Id;

    private async Task<ColdTrial> TrialAsync(int tier, AdapterId id, int others)
    {
        await server.Cache.PreloadAsync(id);
        if (tier > 0)
        {
            await server.Cache.UnloadAsync(id);
        }

        if (tier == 2)
        {
            Forget(id);
        }

        List<long>[] arrivals = [.. Enumerable.Range(0, others).Select(_ => new List<long>(OtherTokens))];
        GenerationStream[] streams = new GenerationStream[others];
        Task[] readers = new Task[others];
        TaskCompletionSource running = new(TaskCreationOptions.RunContinuationsAsynchronously);
        int ready = 0;
        for (int i = 0; i < others; i++)
        {
            streams[i] = await server.Engine.SubmitAsync(Request(OtherTokens, adapter: null));
            readers[i] = ReadAsync(streams[i], arrivals[i]);
        }

        if (others > 0)
        {
            await running.Task;
        }

        long submitted = Stopwatch.GetTimestamp();
        double toFirstToken = 0;
        await using (GenerationStream stream = await server.Engine.SubmitAsync(Request(options.OutputTokens, id)))
        {
            await foreach (GenerationChunk chunk in stream.ReadAllAsync())
            {
                toFirstToken = chunk.Usage?.TimeToFirstToken.TotalSeconds ?? toFirstToken;
            }
        }

        foreach (GenerationStream stream in streams)
        {
            await stream.DisposeAsync();
        }

        await Task.WhenAll(readers);
        return Evaluate(arrivals, submitted, toFirstToken);

        async Task ReadAsync(GenerationStream stream, List<long> arrived)
        {
            try
            {
                await foreach (GenerationChunk chunk in stream.ReadAllAsync())
                {
                    arrived.Add(Stopwatch.GetTimestamp());
                    if (arrived.Count == LeadTokens && Interlocked.Increment(ref ready) == others)
                    {
                        running.SetResult();
                    }
                }
            }
            catch (OperationCanceledException)
            {
                // The trial is over.
            }
        }
    }

    private static ColdTrial Evaluate(List<long>[] arrivals, long submitted, double toFirstToken)
    {
        double Seconds(long from, long to) => Stopwatch.GetElapsedTime(from, to).TotalSeconds;
        List<double> before = [];
        List<(double At, double Length)> after = [];
        foreach (List<long> arrived in arrivals)
        {
            for (int i = 1; i < arrived.Count; i++)
            {
                double length = Seconds(arrived[i - 1], arrived[i]);
                if (arrived[i] < submitted)
                {
                    before.Add(length);
                }
                else
                {
                    after.Add((Seconds(submitted, arrived[i]), length));
                }
            }
        }

        double usual = Statistics.Median(before);
        double largest = after.Where(step => step.At <= toFirstToken + (2 * usual)).Select(step => step.Length).DefaultIfEmpty(double.NaN).Max();
        return new ColdTrial(toFirstToken, usual, largest);
    }

    private GenerationRequest Request(int newTokens, AdapterId? adapter) => new()
    {
        Prompt = new TokenPrompt([.. Enumerable.Range(0, options.PromptTokens).Select(_ => _random.Next(256))]),
        Adapters = adapter is { } id ? [new AdapterReference(id.ToString())] : [],
        Sampling = new Engine.Requests.SamplingParameters { Temperature = 0 },
        Stopping = new Engine.Requests.StoppingCriteria { MaxTokens = newTokens, IgnoreEos = true },
        Output = new Engine.Requests.OutputOptions(OmitText: true),
    };

    private void Forget(AdapterId id)
    {
        using FileStream weights = server.Catalog.OpenFile(id, AdapterFilePart.Weights);
        PageCache.Forget(weights);
    }

    /// <summary>Seconds that the plain reading of its weights from the disk takes.</summary>
    private double ReadFromDisk(AdapterId id)
    {
        using FileStream weights = server.Catalog.OpenFile(id, AdapterFilePart.Weights);
        PageCache.Forget(weights);
        byte[] buffer = new byte[1 << 20];
        long start = Stopwatch.GetTimestamp();
        while (weights.Read(buffer) > 0)
        {
        }

        return Stopwatch.GetElapsedTime(start).TotalSeconds;
    }

    private string Write(
        string[] arguments, ServerInfo info, List<ColdTrial>[] trials, List<double> reads, (double ReadFromDisk, double Read, double Place) alone, int dropped, int others, string loadBefore)
    {
        using FileStream file = server.Catalog.OpenFile(Id(0), AdapterFilePart.Weights);
        StringBuilder text = new();
        Line($"# Cold adapters: {options.Shape} {options.Weights}, rank {rank}, beside {others} streams");
        text.AppendLine();
        LoadReport.Head(text, options, arguments, info);
        Line($"- load average {loadBefore} before, {Machine.LoadAverage()} after; {options.Rounds} trials of each that count, in turn, {dropped} dropped because others computed");
        Line($"- an adapter has {file.Length / 1e6:F1} MB; reading it from the disk alone takes {1e3 * Statistics.Median(reads):F1} ms (median, page cache forgotten before each)");
        Line($"- with nothing beside it a load takes {1e3 * alone.ReadFromDisk:F1} ms from the disk to host memory ({1e3 * alone.Read:F1} ms from the page cache) and {1e3 * alone.Place:F1} ms onto the device");
        Line($"- the request has {options.PromptTokens} prompt tokens; the others decode, without an adapter");
        text.AppendLine();
        text.AppendLine("| the adapter is | TTFT median ms | best | more than resident | others' usual step ms | others' largest step, median ms | best | worst |");
        text.AppendLine("|---|---|---|---|---|---|---|---|");
        double resident = Statistics.Median(trials[0].Select(trial => trial.ToFirstToken));
        for (int tier = 0; tier < s_tiers.Length; tier++)
        {
            double[] first = [.. trials[tier].Select(trial => 1e3 * trial.ToFirstToken)];
            double[] largest = [.. trials[tier].Select(trial => 1e3 * trial.LargestStep)];
            if (first.Length > 0)
            {
                Line(
                    $"| {s_tiers[tier]} | {Statistics.Median(first):F1} | {first.Min():F1} | {Statistics.Median(first) - (1e3 * resident):F1} | {1e3 * Statistics.Median(trials[tier].Select(trial => trial.UsualStep)):F1} | {Statistics.Median(largest):F1} | {largest.Min():F1} | {largest.Max():F1} |");
            }
        }

        text.AppendLine();
        text.AppendLine("TTFT counts from the call into the engine. The others' largest step is the longest distance between two tokens of any of them from the request's");
        text.AppendLine("arrival until two steps after its first token: with a resident adapter that is the step that computes its prompt.");
        text.AppendLine();
        return text.ToString();

        void Line(FormattableString line) => text.AppendLine(line.ToString(CultureInfo.InvariantCulture));
    }
}
