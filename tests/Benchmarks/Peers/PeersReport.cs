using System.Globalization;
using System.Text;

namespace InferenceServer.Benchmarks.Peers;

/// <summary>Writes what was measured as markdown.</summary>
internal static class PeersReport
{
    public static string Write(IReadOnlyList<PeerRun> runs, IReadOnlyList<PeerRow> rows)
    {
        StringBuilder text = new();
        text.AppendLine("# Beside llama.cpp").AppendLine();
        foreach (IGrouping<(string Machine, string Extensions, int Cores), PeerRun> machine in runs.GroupBy(run => (run.Machine, run.Extensions, run.Cores)))
        {
            text.AppendLine(CultureInfo.InvariantCulture, $"- {machine.Key.Machine}, {machine.Key.Cores} cores: {machine.Key.Extensions}");
        }

        foreach (string version in runs.Select(run => run.LlamaCpp).Distinct())
        {
            text.AppendLine(CultureInfo.InvariantCulture, $"- {version}");
        }

        foreach (IGrouping<(string Ours, string Label), PeerRun> ours in runs.GroupBy(run => (run.Ours, run.Label)))
        {
            text.AppendLine(CultureInfo.InvariantCulture, $"- ours: {ours.Key.Ours}{(ours.Key.Label.Length > 0 ? "; " : "")}{ours.Key.Label}");
        }

        foreach (IGrouping<string, PeerRun> command in runs.GroupBy(run => run.Command))
        {
            text.AppendLine(CultureInfo.InvariantCulture, $"- {string.Join(", ", command.Select(run => run.Id))} UTC: `{command.Key}`");
        }

        double[] loads = [.. rows.SelectMany(row => row.Loads).Select(load => double.Parse(load, CultureInfo.InvariantCulture))];
        if (loads.Length > 0)
        {
            text.AppendLine(
                CultureInfo.InvariantCulture, $"- load average of a minute, the measured sides' threads in it: {loads.Min():F2} to {loads.Max():F2}");
        }

        foreach (PeerRun run in runs.Where(run => run.Agreement.Length > 0))
        {
            text.AppendLine(CultureInfo.InvariantCulture, $"- {run.Agreement}");
        }

        text.AppendLine();
        text.AppendLine("| shape | weights | work | ours best tokens/s | median | llama.cpp best | median | times llama.cpp, best | median of rounds | asked for | of the memory's pace | slices | dropped | others' cores |");
        text.AppendLine("|---|---|---|---|---|---|---|---|---|---|---|---|---|---|");
        foreach (PeerRow row in rows)
        {
            string bar = row.Bar is double asked ? string.Create(CultureInfo.InvariantCulture, $"{asked:0.0##}{(row.Ratio >= asked ? " reached" : "")}") : "";
            string pace = double.IsNaN(row.MemoryBest) ? "" : string.Create(CultureInfo.InvariantCulture, $"{100 * row.OursBest / row.MemoryBest:F0} %");
            text.AppendLine(
                CultureInfo.InvariantCulture,
                $"| {row.Shape} | {row.Weights} / {PeerWork.PeerFormats[row.Weights]} | {row.Work} | {row.OursBest:F1} | {row.OursMedian:F1} "
                + $"| {row.TheirsBest:F1} | {row.TheirsMedian:F1} | **{row.Ratio:F2}** | {row.RoundRatio:F2} | {bar} | {pace} | {row.Slices} | {row.Dropped} | {row.OtherCores:F2} |");
        }

        text.AppendLine();
        AppendTenants(text, rows);
        text.AppendLine("Both sides had the same weights, rounded to bf16 before either file was written, and took turns; a slice counts when other processes used less");
        text.AppendLine(CultureInfo.InvariantCulture, $"than {ProcessorUse.MaxOtherCores} cores in it. Ours in decode and prefill is the server's engine in this process, without the port: it samples and schedules,");
        text.AppendLine("which llama-bench (decode-1, prefill-512) and llama-batched-bench (decode-16) leave out. Tenants are 16 requests at once through a client and");
        text.AppendLine("the loopback on both sides, prompts included in the time; of llama.cpp that is llama-server. The memory's pace is what reading our weights once for each");
        text.AppendLine("token and nothing else would give, measured in turn with the others.");
        return text.ToString();
    }

    /// <summary>What our own tenants cost, beside our own base at the same batch.</summary>
    private static void AppendTenants(StringBuilder text, IReadOnlyList<PeerRow> rows)
    {
        foreach (IGrouping<(string Shape, string Weights), PeerRow> group in rows.GroupBy(row => (row.Shape, row.Weights)))
        {
            PeerRow? Of(string work) => group.FirstOrDefault(row => row.Work == work);
            if (Of(PeerWork.TenantsBase) is not { } alone || Of(PeerWork.TenantsIdentical) is not { } same || Of(PeerWork.TenantsDistinct) is not { } distinct)
            {
                continue;
            }

            text.AppendLine(
                CultureInfo.InvariantCulture,
                $"{group.Key.Shape} {group.Key.Weights}: 16 tenants with 16 adapters run at {100 * distinct.OursOver(alone):F1} % of our own base at the same batch "
                + $"(asked for 90 %), with the same adapter for all at {100 * same.OursOver(alone):F1} %, and Distinct at {100 * distinct.OursOver(same):F1} % of Identical (asked for 95 %); "
                + $"medians of rounds. Best over best: {100 * distinct.OursBest / alone.OursBest:F1}, {100 * same.OursBest / alone.OursBest:F1} and {100 * distinct.OursBest / same.OursBest:F1} %.");
            text.AppendLine();
        }
    }
}
