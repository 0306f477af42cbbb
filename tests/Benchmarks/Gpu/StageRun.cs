using System.Diagnostics;
using InferenceServer.Benchmarks.Gpu.Results;
using InferenceServer.Tensors;

namespace InferenceServer.Benchmarks.Gpu;

/// <summary>What a running stage is given: the options, the clock of its budget, and where results go.</summary>
internal sealed class StageRun(GpuStage stage, GpuOptions options, GpuResults results)
{
    private readonly long _start = Stopwatch.GetTimestamp();
    private int _failures;

    public GpuOptions Options => options;

    public GpuResults Results => results;

    public TimeSpan Left => options.BudgetOf(stage) - Stopwatch.GetElapsedTime(_start);

    /// <summary>Whether a share of the budget is left; a stage gives up its later parts when it is not.</summary>
    public bool Has(double share) => Left > options.BudgetOf(stage) * share;

    /// <summary>A folder of this stage's own.</summary>
    public string Folder(string name) => Path.Combine(options.FolderOf(stage), name);

    /// <summary>Writes a result down at once.</summary>
    /// <param name="subject">What it was measured on, such as a shape.</param>
    /// <param name="what">What was measured.</param>
    /// <param name="value">The number.</param>
    /// <param name="unit">Its unit.</param>
    /// <param name="ceiling">What it is a part of, in the same unit; NaN for nothing.</param>
    /// <param name="note">How it came about.</param>
    public void Record(string subject, string what, double value, string unit, double ceiling = double.NaN, string note = "")
    {
        GpuResult result = new()
        {
            Stage = stage.Name,
            Subject = subject,
            What = what,
            Value = value,
            Unit = unit,
            Ceiling = double.IsFinite(ceiling) ? ceiling : null,
            Note = note,
            At = DateTime.UtcNow,
        };
        results.Add(result);
        Console.WriteLine(result.ToString());
    }

    /// <inheritdoc cref="TryAsync"/>
    public void Try(string subject, Action part)
    {
        try
        {
            part();
        }
        catch (Exception error) when (error is not DeviceLostException)
        {
            Failed(subject, error);
        }
    }

    /// <summary>Does a part; when it fails, that is written down and the stage goes on with the next.</summary>
    /// <exception cref="DeviceLostException">The device is of no use any more, and so is what would follow.</exception>
    public async Task TryAsync(string subject, Func<Task> part)
    {
        try
        {
            await part();
        }
        catch (Exception error) when (error is not DeviceLostException)
        {
            Failed(subject, error);
        }
    }

    /// <summary>Writes down that something was left out, and why.</summary>
    public void Skip(string subject, string what, string reason) => Record(subject, what, double.NaN, GpuResult.SkippedUnit, note: reason);

    /// <summary>Writes down that the stage begins: failures and gaps of an earlier run of it count no more.</summary>
    public void Begin() => Record(stage.Name, GpuResult.Begun, double.NaN, "");

    /// <summary>Writes down what went wrong.</summary>
    public void Failed(string subject, Exception error) =>
        Record(subject, $"failure {++_failures}", double.NaN, GpuResult.FailedUnit, note: $"{error.GetType().Name}: {error.Message.ReplaceLineEndings(" ")}");
}
