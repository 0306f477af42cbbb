using System.Globalization;
using System.Text;
using System.Text.Json;
using InferenceServer.Cli.Charts;
using InferenceServer.Cli.Comparison.Claims;
using InferenceServer.Cli.Jobs;
using InferenceServer.Cli.Rendering;

namespace InferenceServer.Cli.Comparison;

/// <summary>The one table (markdown, CSV, JSON), the one picture, and the verdicts.</summary>
internal sealed class ComparisonReport
{
    private static readonly JsonSerializerOptions s_json = new(JsonSerializerDefaults.Web) { WriteIndented = true };

    private readonly ComparisonTable _table;
    private readonly string _conditions;
    private readonly IReadOnlyList<(Claim Claim, Verdict Verdict)> _verdicts;

    /// <param name="table">The measured rows.</param>
    /// <param name="conditions">What was trained on what, in a sentence or two.</param>
    public ComparisonReport(ComparisonTable table, string conditions)
    {
        _table = table;
        _conditions = conditions;
        _verdicts = [.. Claim.All.Select(claim => (claim, claim.Judge(table)))];
    }

    /// <summary>Writes comparison.md, comparison.csv, comparison.json and loss.svg.</summary>
    public void Write(string folder)
    {
        File.WriteAllText(Path.Combine(folder, "comparison.md"), ToMarkdown());
        File.WriteAllText(Path.Combine(folder, "comparison.csv"), ToCsv());
        File.WriteAllText(Path.Combine(folder, "comparison.json"), ToJson());
        File.WriteAllText(Path.Combine(folder, "loss.svg"), Chart().ToSvg());
    }

    public string ToMarkdown()
    {
        StringBuilder text = new();
        text.Append("# Methods compared\n").Append(_conditions).Append('\n');
        if (_table.Repeats.Count(trial => trial.Succeeded) is > 0 and int count)
        {
            text.Append(CultureInfo.InvariantCulture, $"With {count} other seed(s) lora r{_table.Rank} ends ");
            text.Append(string.Join(" and ", _table.Repeats.Where(trial => trial.Succeeded).Select(trial => JobText.Loss(trial.BestLoss))));
            text.Append(CultureInfo.InvariantCulture, $"; losses within {100 * _table.Margin:0.#} % of each other count as equal.\n");
        }

        text.Append('\n');
        string target = _table.TargetLoss is { } loss ? JobText.Loss(loss) : "target";
        AppendRow(text, [
            "method", "learning rate", "trained parameters", "exported", "peak memory", $"steps to {target}", $"seconds to {target}",
            "best held-out loss", "final", "exact match"]);
        AppendRow(text, ["---", .. Enumerable.Repeat("---:", 9)]);
        foreach (TunedContender row in _table.Rows)
        {
            AppendRow(text, Cells(row));
        }

        text.Append("\n![held-out loss over steps](loss.svg)\n\n## What the papers claim\n");
        AppendRow(text, ["claim", "here", "numbers"]);
        AppendRow(text, ["---", "---", "---"]);
        foreach ((Claim claim, Verdict verdict) in _verdicts)
        {
            AppendRow(text, [claim.Statement, Words(verdict.Ruling), verdict.Evidence]);
        }

        return text.ToString();
    }

    public string ToCsv()
    {
        StringBuilder text = new();
        text.Append("method,rank,learning_rate,trained_parameters,exported_bytes,peak_bytes,base_bytes,target_loss,steps_to_target,");
        text.Append("seconds_to_target,best_loss,final_loss,steps,training_seconds,exact_right,exact_total,error\n");
        foreach ((Contender contender, Trial best) in _table.Rows.Select(row => (row.Contender, row.Best)))
        {
            object?[] values =
            [
                contender.Name, contender.Rank, best.Rate, best.TrainableParameters, best.AdapterBytes, best.PeakBytes, best.BaseBytes,
                _table.TargetLoss, StepsTo(best), SecondsTo(best), best.BestLoss, best.FinalLoss, best.Steps, best.TrainingSeconds,
                best.ExactRight, best.ExactTotal, best.Error,
            ];
            text.AppendJoin(',', values.Select(CsvValue)).Append('\n');
        }

        return text.ToString();
    }

    public string ToJson() => JsonSerializer.Serialize(
        new
        {
            Conditions = _conditions,
            _table.TargetLoss,
            _table.Margin,
            Rows = _table.Rows.Select(row => new
            {
                Method = row.Contender.Method.Name,
                row.Contender.Rank,
                StepsToTarget = StepsTo(row.Best),
                SecondsToTarget = SecondsTo(row.Best),
                Trial = row.Best,
            }),
            _table.Repeats,
            Claims = _verdicts.Select(pair => new
            {
                pair.Claim.Statement,
                Ruling = Words(pair.Verdict.Ruling),
                pair.Verdict.Evidence,
            }),
        },
        s_json) + "\n";

    public LineChart Chart() => new()
    {
        Title = "Held-out loss over steps, each method at its best rate",
        XLabel = "step",
        YLabel = "held-out loss",
        Series =
        [
            .. _table.Rows.Where(row => row.Best.Succeeded).OrderBy(row => row.Best.FinalLoss)
                .Select(row => new ChartSeries(row.Contender.Name, row.Best.HeldOut, HasMarkers: false)),
        ],
    };

    /// <summary>The verdicts as lines for a terminal.</summary>
    public IEnumerable<string> VerdictLines() =>
        _verdicts.Select(pair => $"{Words(pair.Verdict.Ruling)}: {pair.Claim.Statement} ({pair.Verdict.Evidence})");

    private static string Words(Ruling ruling) => ruling switch
    {
        Ruling.Holds => "holds",
        Ruling.DoesNotHold => "does not hold",
        _ => "cannot be judged",
    };

    private string[] Cells(TunedContender row)
    {
        Trial best = row.Best;
        if (!best.Succeeded)
        {
            return [row.Contender.Name, Rate(best), .. Enumerable.Repeat("", 5), "failed", best.Error, ""];
        }

        return
        [
            row.Contender.Name,
            Rate(best),
            Format.Count(best.TrainableParameters),
            Format.Bytes(best.AdapterBytes),
            best.PeakMemory is { } peak ? Format.Bytes(peak) : "-",
            StepsTo(best)?.ToString(CultureInfo.InvariantCulture) ?? "-",
            SecondsTo(best)?.ToString("0.#", CultureInfo.InvariantCulture) ?? "-",
            JobText.Loss(best.BestLoss),
            JobText.Loss(best.FinalLoss),
            best.ExactTotal > 0 ? string.Create(CultureInfo.InvariantCulture, $"{best.ExactRight}/{best.ExactTotal}") : "-",
        ];
    }

    private int? StepsTo(Trial trial) => _table.TargetLoss is { } target ? trial.StepsTo(target) : null;

    private double? SecondsTo(Trial trial) => _table.TargetLoss is { } target ? trial.SecondsTo(target) : null;

    private static string Rate(Trial trial) => trial.Rate.ToString("0.##E+0", CultureInfo.InvariantCulture);

    private static void AppendRow(StringBuilder text, IEnumerable<string> cells) => text.Append("| ")
        .AppendJoin(" | ", cells.Select(cell => cell.ReplaceLineEndings(" ").Replace("|", "\\|", StringComparison.Ordinal))).Append(" |\n");

    private static string CsvValue(object? value)
    {
        string text = value is double number && !double.IsFinite(number) ? ""
            : Convert.ToString(value, CultureInfo.InvariantCulture) ?? "";
        return text.AsSpan().ContainsAny(",\"\r\n") ? $"\"{text.Replace("\"", "\"\"", StringComparison.Ordinal)}\"" : text;
    }
}
