using System.Globalization;
using System.Text;

namespace InferenceServer.Demo.Verifying;

/// <summary>The results as a Markdown table.</summary>
internal static class ResultTable
{
    public static string Write(IReadOnlyList<TaskResult> results)
    {
        StringBuilder text = new();
        text.AppendLine("| task | method | rank | trained parameters | bytes | training seconds | questions | base exact | tenant exact | bars |");
        text.AppendLine("|---|---|---|---|---|---|---|---|---|---|");
        foreach (TaskResult result in results)
        {
            text.AppendLine(string.Create(
                CultureInfo.InvariantCulture,
                $"| {result.Style.Name} | {result.Tenant?.Method ?? "full, from random weights"} | {result.Tenant?.Rank.ToString(CultureInfo.InvariantCulture) ?? "-"} "
                + $"| {result.Training?.TrainedParameters:N0} | {result.Bytes:N0} | {result.Training?.Seconds:F0} | {result.Questions} "
                + $"| {result.BaseShare:P1} | {(result.Tenant is null ? "-" : result.TenantShare.ToString("P1", CultureInfo.InvariantCulture))} "
                + $"| {(result.Holds ? "hold" : "MISSED")} |"));
        }

        return text.ToString();
    }
}
