using System.Globalization;
using System.Text;
using InferenceServer.Protocol.V1;

namespace InferenceServer.Benchmarks.Load;

/// <summary>Writes what was measured as markdown.</summary>
internal static class LoadReport
{
    public static string Write(
        LoadOptions options, string rank, string[] arguments, ServerInfo info, IReadOnlyList<LoadResult> results, string loadBefore)
    {
        StringBuilder text = new();
        Line($"# Load: {options.Shape} {options.Weights}, adapters of rank {rank}, concurrency {options.Concurrency}");
        text.AppendLine();
        Head(text, options, arguments, info);
        Line($"- load average {loadBefore} before, {Machine.LoadAverage()} after; {options.Rounds} rounds after one unrecorded, all rows in turn");
        Line($"- each round {options.Requests} requests, {options.Concurrency} at once, {options.PromptTokens} prompt and {options.OutputTokens} generated tokens each, greedy");
        text.AppendLine();
        text.AppendLine("| adapters | requests | tokens/s | of Base | best | of best | TTFT p50 ms | p95 | per token p50 ms | p95 | device hits | host hits | disk loads | rounds | dropped | others' cores |");
        text.AppendLine("|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|");
        LoadResult alone = results[0];
        foreach (LoadResult result in results.Where(result => result.Rounds > 0))
        {
            double best = result.TokensPerSecond.Max();
            double ofBest = alone.Rounds == 0 ? double.NaN : best / alone.TokensPerSecond.Max();
            text.AppendLine(
                CultureInfo.InvariantCulture,
                $"| {result.Adapters} | {result.Name} | {Statistics.Median(result.TokensPerSecond):F1} | {result.ShareOf(alone) * 100:F1} % | {best:F1} | {ofBest * 100:F1} % "
                + $"| {First(result, 0.5):F0} | {First(result, 0.95):F0} | {Each(result, 0.5):F2} | {Each(result, 0.95):F2} | {result.DeviceHits} | {result.HostHits} | {result.DiskLoads} "
                + $"| {result.Rounds} | {result.Dropped} | {result.OtherCores:F2} |");
        }

        text.AppendLine();
        text.AppendLine("tokens/s and its share of Base are medians over the rounds, best is the best round; a round counts when other processes used");
        Line($"less than {ProcessorUse.MaxOtherCores} cores{(options.CountsBusyRounds ? ", or more in this run (--busy)" : "")}. The times are percentiles over all requests, seen by the client.");
        text.AppendLine("Every stream had the tokens asked for and was served by the adapter asked for, or the run had failed.");
        text.AppendLine();
        return text.ToString();

        void Line(FormattableString line) => text.AppendLine(line.ToString(CultureInfo.InvariantCulture));
    }

    /// <summary>Date, machine, model and command, for every report of this benchmark.</summary>
    public static void Head(StringBuilder text, LoadOptions options, string[] arguments, ServerInfo info)
    {
        Line($"- {DateTime.UtcNow:yyyy-MM-dd HH:mm} UTC, {Machine.CpuModel()}, {Environment.ProcessorCount} cores: {Machine.Extensions()}");
        Line($"- {info.Device}");
        Line($"- {info.Model.Parameters / 1e6:F0} million random parameters; {info.Load.AdaptersOnDisk} adapters on disk, on all linear modules; seed {options.Seed}");
        Line($"- budgets for adapters: {info.Limits.HostAdapterBudgetBytes / 1e9:F1} GB of host and {info.Limits.DeviceAdapterBudgetBytes / 1e9:F1} GB of device memory");
        Line($"- `dotnet run -c Release --project tests/Benchmarks -- load {CommandLine.Join(arguments)}`");

        void Line(FormattableString line) => text.AppendLine(line.ToString(CultureInfo.InvariantCulture));
    }

    private static double First(LoadResult result, double share) => 1e3 * result.Percentile(request => request.ToFirstToken, share);

    private static double Each(LoadResult result, double share) => 1e3 * result.Percentile(request => request.PerOutputToken, share);
}
