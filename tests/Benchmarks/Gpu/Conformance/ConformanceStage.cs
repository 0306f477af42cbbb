using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using InferenceServer.TestKit.Cuda;

namespace InferenceServer.Benchmarks.Gpu.Conformance;

/// <summary>
/// The backend's conformance tests on the device, in processes of their own: after an error that loses the device, and after a test that does
/// not end, another process goes on with the next test.
/// </summary>
internal static class ConformanceStage
{
    public const string Subject = "conformance";

    public const string Passed = "tests passed";

    private static readonly TimeSpan s_longest = TimeSpan.FromSeconds(60);

    public static async Task RunAsync(StageRun run)
    {
        string tests = Path.Combine(AppContext.BaseDirectory, "InferenceServer.KernelTests.dll");
        if (!File.Exists(tests))
        {
            run.Skip(Subject, Passed, $"{Path.GetFileName(tests)} is not beside this program; the packed benchmark has it");
            return;
        }

        string library = run.Options.IsCuda ? "Cuda" : "Cpu";
        Dictionary<string, string> environment = new() { [CudaHardware.Variable] = Path.Combine(run.Options.Work, "test-kernels") };
        if (run.Options.CudaLibraries.Length > 0)
        {
            environment["CUDA_LIBRARY_PATH"] = run.Options.CudaLibraries;
        }

        int next = 0, passed = 0, skipped = 0, failed = 0, total = int.MaxValue;
        while (next < total && run.Has(0.02))
        {
            long lastLine = Stopwatch.GetTimestamp();
            int begun = next;
            int? code = await SelfProcess.RunAsync(
                [ConformanceRunner.Command, tests, library, next.ToString(CultureInfo.InvariantCulture)],
                environment,
                line =>
                {
                    lastLine = Stopwatch.GetTimestamp();
                    if (Parse(line) is not { } outcome)
                    {
                        Console.WriteLine(line);
                        return;
                    }

                    total = outcome.Total;
                    next = outcome.Number + 1;
                    passed += outcome.Result == TestOutcome.Passed ? 1 : 0;
                    skipped += outcome.Result == TestOutcome.Skipped ? 1 : 0;
                    if (outcome.Result == TestOutcome.Failed)
                    {
                        failed++;
                        run.Record(Subject, outcome.Name, double.NaN, Results.GpuResult.FailedUnit, note: outcome.Message);
                    }
                },
                () => Stopwatch.GetElapsedTime(lastLine) > s_longest || !run.Has(0));
            if (code is null && !run.Has(0.02))
            {
                break;
            }

            if (code is null || (code != 0 && next == begun))
            {
                // Nothing was heard of the test after the last one: it hangs, or took the process with it.
                failed++;
                run.Record(
                    Subject,
                    string.Create(CultureInfo.InvariantCulture, $"test {next} of {total}"),
                    double.NaN,
                    Results.GpuResult.FailedUnit,
                    note: code is null ? $"no end after {s_longest.TotalSeconds:F0} s" : string.Create(CultureInfo.InvariantCulture, $"the process ended with {code}"));
                next++;
                if (total == int.MaxValue)
                {
                    break;
                }
            }
        }

        int known = total == int.MaxValue ? 0 : total;
        run.Record(
            Subject,
            Passed,
            passed,
            "tests",
            known - skipped,
            string.Create(CultureInfo.InvariantCulture, $"{failed} failed, {skipped} skipped, {known - passed - failed - skipped} not run for lack of time"));
    }

    private static TestOutcome? Parse(string line)
    {
        try
        {
            return line.StartsWith('{') ? JsonSerializer.Deserialize<TestOutcome>(line) : null;
        }
        catch (JsonException)
        {
            return null;
        }
    }
}
