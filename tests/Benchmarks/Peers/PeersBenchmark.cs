using System.Globalization;

namespace InferenceServer.Benchmarks.Peers;

/// <summary>
/// This server beside llama.cpp on the same machine with the same random weights: the sides take turns within one run, and only slices count in
/// which other processes left the machine alone.
/// </summary>
internal static class PeersBenchmark
{
    private const int Tenants = 16;
    private const int PrefillTokens = 512;
    private const int BatchPromptTokens = 32;
    private const int TenantPromptTokens = 8;
    private const int TenantNewTokens = 16;
    private const int ComparedTokens = 4;

    public static async Task RunAsync(string[] arguments)
    {
        PeersOptions options = PeersOptions.Parse(arguments);
        if (options.Setup)
        {
            PeersSetup.Run(options);
        }

        PeerResults results = new(options.Output);
        if (!options.ReportOnly)
        {
            PeersSetup.Check(options);
            foreach (string shape in options.Shapes)
            {
                foreach (string weights in options.Weights)
                {
                    await RunAsync(options, arguments, results, shape, weights);
                }
            }
        }

        Console.Write(results.WriteReport());
    }

    private static async Task RunAsync(PeersOptions options, string[] arguments, PeerResults results, string shape, string weights)
    {
        await using OurSide ours = await OurSide.StartAsync(
            options.HfFolder(shape), weights, options.Threads, Path.Combine(options.Work, "packed"), options.Server);
        LlamaTools tools = new(PeersSetup.Programs(options), options.Gguf(shape, weights), options.Threads);
        PeerMeasurement measurement = new(options, results, shape, weights, PeerRun.NewId());
        using MemoryPace memory = new(options.Threads);
        int tokens = options.TokensFor(shape);
        int tokensEach = Math.Max(8, tokens / 2);
        string[] single = [""];
        string[] batch = [.. Enumerable.Repeat("", 16)];

        // The library that it chooses for this processor is known once it has run.
        tools.Decode(newTokens: 1, repetitions: 1);
        PeerRun run = new()
        {
            Id = measurement.Run,
            Command = $"dotnet run -c Release --project tests/Benchmarks -- peers {CommandLine.Join(arguments)}",
            Machine = Machine.CpuModel(),
            Extensions = Machine.Extensions(),
            Cores = Environment.ProcessorCount,
            Ours = await ours.DescribeAsync(),
            Label = options.Label,
            LlamaCpp = $"{PeersSetup.Version(options)}, {tools.Backend}",
        };
        results.Add(run);
        await measurement.AlternateAsync([.. options.What.Where(PeerWork.Streams.Contains).Select(Contest)]);
        if (options.What.Any(PeerWork.Tenants.Contains))
        {
            await ServeTenantsAsync(options, ours, measurement, results, run, shape, weights);
        }

        PeerContest Contest(string work) => work switch
        {
            PeerWork.Decode1 => new PeerContest(
                work,
                Repeat(() => ours.DecodeAsync(single, promptTokens: 1, tokens)),
                count => Task.FromResult(tools.Decode(tokens, count)))
            {
                Limit = count => Task.FromResult(memory.TokensPerSecond(ours.BytesPerToken, count)),
            },
            PeerWork.Decode16 => new PeerContest(
                work,
                Repeat(() => ours.DecodeAsync(batch, BatchPromptTokens, tokensEach)),
                count => Task.FromResult(tools.DecodeBatch(batch.Length, BatchPromptTokens, tokensEach, count))),
            _ => new PeerContest(work, Repeat(() => ours.PrefillAsync(PrefillTokens)), count => Task.FromResult(tools.Prefill(PrefillTokens, count))),
        };
    }

    private static async Task ServeTenantsAsync(
        PeersOptions options, OurSide ours, PeerMeasurement measurement, PeerResults results, PeerRun run, string shape, string weights)
    {
        string[] names = [.. Enumerable.Range(0, Tenants).Select(i => string.Create(CultureInfo.InvariantCulture, $"tenant-{i}"))];
        for (int i = 0; i < Tenants; i++)
        {
            await ours.UploadAsync(names[i], options.Adapter(shape, i));
        }

        using LlamaServer theirs = await LlamaServer.StartAsync(
            PeersSetup.Programs(options),
            options.Gguf(shape, weights),
            [.. Enumerable.Range(0, Tenants).Select(i => options.Adapter(shape, i) + ".gguf")],
            places: Tenants,
            options.Threads);
        results.Add(run with { Agreement = await CompareAsync(ours, theirs, names, $"{shape} {weights}") });
        int tokens = options.Tokens > 0 ? options.Tokens : TenantNewTokens;
        await measurement.AlternateAsync([.. PeerWork.Tenants.Where(options.What.Contains).Select(work =>
        {
            string[] adapters = [.. names.Select(name => work == PeerWork.TenantsBase ? "" : work == PeerWork.TenantsIdentical ? names[0] : name)];
            int[] places = [.. Enumerable.Range(0, Tenants).Select(i => work == PeerWork.TenantsBase ? -1 : work == PeerWork.TenantsIdentical ? 0 : i)];
            return new PeerContest(
                work,
                Repeat(() => ours.ServeAsync(adapters, TenantPromptTokens, tokens)),
                Repeat(() => theirs.ServeAsync(places, TenantPromptTokens, tokens)))
            {
                TheirProcess = theirs.ProcessId,
            };
        })]);
    }

    /// <summary>
    /// Whether both sides compute the same: the first greedy tokens of the base and of every tenant. They differ after a while, and earlier the coarser
    /// the weights are, because each side rounds in its own way.
    /// </summary>
    private static async Task<string> CompareAsync(OurSide ours, LlamaServer theirs, string[] names, string what)
    {
        int equal = 0;
        int[] prompt = [.. Enumerable.Range(0, TenantPromptTokens).Select(i => 300 + (37 * i))];
        HashSet<string> answers = [];
        for (int i = -1; i < names.Length; i++)
        {
            int[] our = await ours.GreedyAsync(i < 0 ? "" : names[i], prompt, ComparedTokens);
            int[] their = await theirs.GreedyAsync(i, prompt, ComparedTokens);
            equal += our.Zip(their).TakeWhile(pair => pair.First == pair.Second).Count();
            answers.Add(string.Join(' ', our));
        }

        int all = (names.Length + 1) * ComparedTokens;
        return $"{what}: of the first {ComparedTokens} greedy tokens of the base and {names.Length} tenants ({answers.Count} different answers) {equal} of {all} are the same on both sides";
    }

    private static Func<int, Task<double[]>> Repeat(Func<Task<double>> measure) => async count =>
    {
        double[] samples = new double[count];
        for (int i = 0; i < count; i++)
        {
            samples[i] = await measure();
        }

        return samples;
    };
}
