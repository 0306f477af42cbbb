using System.Globalization;
using System.Text;

namespace InferenceServer.Benchmarks.Gpu.Results;

/// <summary>Writes what was measured as markdown, and the bars as a picture.</summary>
internal static class GpuReport
{
    public static string Write(IReadOnlyList<GpuResult> results, IReadOnlyList<GpuBar> bars)
    {
        StringBuilder text = new();
        text.AppendLine("# On a GPU").AppendLine();
        if (results.Count > 0)
        {
            text.AppendLine(CultureInfo.InvariantCulture, $"- {results.Min(result => result.At):yyyy-MM-dd HH:mm} to {results.Max(result => result.At):HH:mm} UTC");
        }

        foreach (GpuResult name in results.Where(result => result is { Stage: "device", What: "name" }))
        {
            text.AppendLine(CultureInfo.InvariantCulture, $"- {name.Note}");
        }

        text.AppendLine().AppendLine("| asked for | at least / most | seen | | of what |").AppendLine("|---|---|---|---|---|");
        foreach (GpuBar bar in bars)
        {
            text.AppendLine(
                CultureInfo.InvariantCulture,
                $"| {bar.Name} | {(bar.AtMost ? "at most" : "at least")} {bar.Asked:0.##} | {GpuResult.Number(bar.Seen)} | {bar.Verdict} | {bar.How} |");
        }

        foreach (IGrouping<string, GpuResult> stage in results.GroupBy(result => result.Stage))
        {
            text.AppendLine().AppendLine(CultureInfo.InvariantCulture, $"## {stage.Key}").AppendLine();
            text.AppendLine("| on | what | | | of the ceiling | |").AppendLine("|---|---|---|---|---|---|");
            foreach (GpuResult result in stage)
            {
                string share = double.IsNaN(result.Share) ? "" : result.Share.ToString("P0", CultureInfo.InvariantCulture);
                text.AppendLine(
                    CultureInfo.InvariantCulture, $"| {result.Subject} | {result.What} | {result.ValueText} | {result.Unit} | {share} | {result.Note.Replace('|', '/')} |");
            }
        }

        return text.ToString();
    }

    /// <summary>Each bar as long as what was seen is of what is asked for.</summary>
    public static string Draw(IReadOnlyList<GpuBar> bars) =>
        RatioChart.Draw("Seen, as a part of what is asked for (of a time or a size: asked over seen)", [.. bars.Select(bar => (bar.Name, bar.Ratio, (double?)1))]);
}
