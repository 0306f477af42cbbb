using System.Globalization;

namespace InferenceServer.Benchmarks.Gpu.Results;

/// <summary>One number; a line of results.jsonl. A later one of the same stage, subject and name takes its place.</summary>
internal sealed record GpuResult
{
    /// <summary>Marks the start of a stage.</summary>
    public const string Begun = "begun";

    /// <summary>Unit of what went wrong.</summary>
    public const string FailedUnit = "failed";

    /// <summary>Unit of what was left out.</summary>
    public const string SkippedUnit = "skipped";

    public required string Stage { get; init; }

    /// <summary>What it was measured on, such as a shape or a kernel.</summary>
    public required string Subject { get; init; }

    /// <summary>What was measured.</summary>
    public required string What { get; init; }

    /// <summary>The number; NaN where the unit or the note says all.</summary>
    public required double Value { get; init; }

    public required string Unit { get; init; }

    /// <summary>The measured rate that bounds the number, in the same unit; null for none.</summary>
    public double? Ceiling { get; init; }

    public required string Note { get; init; }

    public required DateTime At { get; init; }

    /// <summary>Part of the ceiling; NaN without one.</summary>
    public double Share => Ceiling is double ceiling ? Value / ceiling : double.NaN;

    public string ValueText => Number(Value);

    public override string ToString() =>
        $"{Stage} {Subject} {What}: {ValueText} {Unit}{(double.IsNaN(Share) ? "" : string.Create(CultureInfo.InvariantCulture, $" ({Share:P0} of {Number(Ceiling!.Value)})"))}{(Note.Length > 0 ? "; " : "")}{Note}";

    /// <summary>Four digits that count.</summary>
    public static string Number(double value) => Math.Abs(value) switch
    {
        double.NaN => "",
        0 => "0",
        < 0.001 => value.ToString("0.###E+0", CultureInfo.InvariantCulture),
        < 10 => value.ToString("0.####", CultureInfo.InvariantCulture),
        < 100 => value.ToString("0.##", CultureInfo.InvariantCulture),
        < 1000 => value.ToString("0.#", CultureInfo.InvariantCulture),
        _ => value.ToString("#,##0", CultureInfo.InvariantCulture),
    };
}
