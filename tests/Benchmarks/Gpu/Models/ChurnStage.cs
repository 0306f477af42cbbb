using System.Diagnostics;
using System.Globalization;
using InferenceServer.Engine.Requests;

namespace InferenceServer.Benchmarks.Gpu.Models;

/// <summary>
/// Streams that decode while requests arrive, whose adapters are on the device, or in files alone: what the largest step of the streams
/// is, and what a cold adapter adds to its own request.
/// </summary>
internal static class ChurnStage
{
    public const string LargestStep = "largest step with cold adapters over resident ones";

    private const int Streams = 16;
    private const int Arrivals = 24;
    private const int PromptTokens = 32;
    private const int StreamTokens = 600;
    private const int ArrivalTokens = 4;

    private static readonly TimeSpan s_pause = TimeSpan.FromMilliseconds(40);

    public static async Task RunAsync(StageRun run)
    {
        ModelDimensions shape = run.Options.TenantShape;
        await using GpuServer server = await GpuServer.StartAsync(
            run, shape, kvTokens: null, "--adapter-device-memory", "4GiB");
        server.AddAdapters(0, Streams + Arrivals, () => run.Has(0.4));
        List<(double Largest, double Usual, double First)> cold = [], resident = [];
        for (int round = -1; round < run.Options.Rounds && (round < 1 || run.Has(0.1)); round++)
        {
            foreach (bool isCold in round % 2 == 0 ? (bool[])[true, false] : [false, true])
            {
                (double Largest, double Usual, double First) trial = await TrialAsync(server, isCold, seed: round);
                if (round >= 0)
                {
                    (isCold ? cold : resident).Add(trial);
                }
            }
        }

        string note = string.Create(
            CultureInfo.InvariantCulture,
            $"{Streams} streams with adapters of their own, {Arrivals} requests in a row beside them; median of {cold.Count} rounds each, in turn");
        foreach ((string name, List<(double Largest, double Usual, double First)> trials) in new[] { ("resident", resident), ("cold", cold) })
        {
            run.Record(shape.Name, $"usual step, {name} adapters arriving", 1e3 * Statistics.Median(trials.Select(trial => trial.Usual)), "ms", note: note);
            run.Record(shape.Name, $"largest step, {name} adapters arriving", 1e3 * Statistics.Median(trials.Select(trial => trial.Largest)), "ms", note: note);
            run.Record(shape.Name, $"time to the first token, {name} adapters", 1e3 * Statistics.Median(trials.Select(trial => trial.First)), "ms", note: note);
        }

        double ratio = Statistics.Median(cold.Select(trial => trial.Largest)) / Statistics.Median(resident.Select(trial => trial.Largest));
        run.Record(shape.Name, LargestStep, ratio, "times", note: note);
    }

    private static async Task<(double Largest, double Usual, double First)> TrialAsync(GpuServer server, bool isCold, int seed)
    {
        foreach (int number in Enumerable.Range(0, Streams + Arrivals))
        {
            await server.Cache.PreloadAsync(server.AdapterId(number));
            if (isCold && number >= Streams)
            {
                await server.Cache.UnloadAsync(server.AdapterId(number));
            }
        }

        Random random = new(seed);
        Task<StreamRun> streams = StreamRun.RunAsync(
            server.Engine, [.. Enumerable.Range(0, Streams).Select(AdapterFiles.NameOf)], PromptTokens, server.Shape.Tokens(StreamTokens), random, server.Shape.Vocabulary);
        List<double> first = [];
        long from = 0, to = 0;
        GenerationRequest[] arrivals =
            [.. Enumerable.Range(Streams, Arrivals).Select(number => StreamRun.Request(AdapterFiles.NameOf(number), PromptTokens, ArrivalTokens, random, server.Shape.Vocabulary))];
        await Task.Delay(s_pause);
        foreach (GenerationRequest arrival in arrivals)
        {
            if (streams.IsCompleted)
            {
                break;
            }

            from = from == 0 ? Stopwatch.GetTimestamp() : from;
            GenerationUsage usage = await StreamRun.ReadAsync(server.Engine, arrival, []);
            to = Stopwatch.GetTimestamp();
            first.Add(usage.TimeToFirstToken.TotalSeconds);
        }

        // All streams must have begun to decode: before, the steps hold their prompts.
        StreamRun done = await streams;
        (long begun, long ended) = done.Window;
        double[] gaps = [.. done.Gaps(Math.Max(from, begun), Math.Min(to, ended))];
        return (gaps.DefaultIfEmpty(double.NaN).Max(), Statistics.Median(gaps), Statistics.Median(first));
    }
}
