using System.Globalization;
using System.Text;
using InferenceServer.Protocol.V1;

namespace InferenceServer.Benchmarks.Load;

/// <summary>Writes what was measured as markdown.</summary>
internal static class LoadReport
{
    public static string Write(
        LoadOptions options, string[] arguments, ServerInfo info, IReadOnlyList<PopularityResult> results, string loadBefore)
    {
        StringBuilder text = new();
        Line($"# Load: {options.Shape}, {options.Adapters} adapters of rank {options.Rank}, concurrency {options.Concurrency}");
        text.AppendLine();
        Line($"- {DateTime.UtcNow:yyyy-MM-dd HH:mm} UTC, {Machine.CpuModel()}, {Environment.ProcessorCount} cores");
        Line($"- {info.Device}");
        Line($"- load average {loadBefore} before, {Machine.LoadAverage()} after; {options.Rounds} rounds after one unrecorded, all rows in turn");
        Line($"- {info.Model.Parameters / 1e6:F0} million random parameters; adapters on all linear modules; seed {options.Seed}");
        Line($"- each round {options.Concurrency} requests at once, {options.PromptTokens} prompt and {options.OutputTokens} generated tokens each, greedy");
        Line($"- `dotnet run -c Release --project tests/Benchmarks -- load {string.Join(' ', arguments)}`");
        text.AppendLine();
        text.AppendLine("| adapters | tokens/s | of Base | best | of best | TTFT p50 ms | p95 | per token p50 ms | p95 | device hits | host hits | disk loads |");
        text.AppendLine("|---|---|---|---|---|---|---|---|---|---|---|---|");
        double bestOfBase = results[0].TokensPerSecond.Max();
        foreach (PopularityResult result in results)
        {
            // A ratio of each round, because the machine is not the same in the next.
            double ofBase = Statistics.Median(result.TokensPerSecond.Zip(results[0].TokensPerSecond, (own, alone) => own / alone));
            double best = result.TokensPerSecond.Max();
            text.AppendLine(
                CultureInfo.InvariantCulture,
                $"| {result.Popularity} | {Statistics.Median(result.TokensPerSecond):F1} | {ofBase * 100:F1} % | {best:F1} | {best / bestOfBase * 100:F1} % "
                + $"| {First(result, 0.5):F0} | {First(result, 0.95):F0} | {Each(result, 0.5):F2} | {Each(result, 0.95):F2} | {result.DeviceHits} | {result.HostHits} | {result.DiskLoads} |");
        }

        text.AppendLine();
        text.AppendLine("tokens/s and its share of Base are medians over the rounds, best is the best round;");
        text.AppendLine("the times are percentiles over all requests, seen by the client.");
        text.AppendLine("Every stream had the tokens asked for and was served by the adapter asked for, or the run had failed.");
        return text.ToString();

        void Line(FormattableString line) => text.AppendLine(line.ToString(CultureInfo.InvariantCulture));
    }

    private static double First(PopularityResult result, double share) => 1e3 * result.Percentile(request => request.ToFirstToken, share);

    private static double Each(PopularityResult result, double share) => 1e3 * result.Percentile(request => request.PerOutputToken, share);
}
