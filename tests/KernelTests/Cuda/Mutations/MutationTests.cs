using System.Diagnostics;
using System.Text.RegularExpressions;
using InferenceServer.TestKit;
using InferenceServer.TestKit.Cuda;
using Xunit;
using Xunit.Abstractions;

namespace InferenceServer.KernelTests.Cuda.Mutations;

/// <summary>
/// Every barrier, wait and marked condition of the kernels is needed by some test: without it the test fails under some order of threads. What is
/// taken out is one place of one kernel at a time, in the running library, so that nothing is compiled anew. With <c>MUTATIONS=all</c> every place of
/// every kernel is taken out and all tests are tried on it, with names of files (<c>MUTATIONS=RmsNorm.cu,product.cuh</c>) those of them; without, a place is taken out of all kernels that share it, and a theory's first two
/// cases are tried before its others. The report is tests/CudaStandIn/obj/mutations.txt.
/// </summary>
[Collection(StandInCollection.Name)]
public sealed partial class MutationTests
{
    private const int CasesOfATheory = 2;

    /// <summary>Processor time of a kernel that may never end without what was taken out.</summary>
    private const int LimitSeconds = 20;

    private readonly ITestOutputHelper _output;
    private readonly string _report = Path.Combine(StandIn.Folder, "..", "mutations.txt");
    private readonly string _asked = Environment.GetEnvironmentVariable("MUTATIONS") ?? "";

    public MutationTests(ITestOutputHelper output) => _output = output;

    private bool IsThorough => _asked.Length > 0;

    [StandInFact]
    public void A_kernel_without_one_of_its_barriers_fails_a_test()
    {
        File.WriteAllText(_report, "");
        List<ReachingCheck> checks = FindChecks();
        string[] sites = [.. checks.SelectMany(check => check.Sites).Where(IsAsked).Distinct(StringComparer.Ordinal).Order(StringComparer.Ordinal)];
        StandIn.SetTimeLimit(LimitSeconds);
        List<string> survivors = [];
        try
        {
            foreach (string site in sites)
            {
                Stopwatch watch = Stopwatch.StartNew();
                int runs = 0;
                string? caught = Catch(site, Attempts(site, checks), Schedules.All.Take(1), ref runs);
                if (caught is null && !site.EndsWith(" MASK", StringComparison.Ordinal))
                {
                    caught = Catch(site, Attempts(site, checks), Schedules.All.Skip(1), ref runs);
                }

                Report($"{site}: {caught ?? "SURVIVES"} ({runs} runs, {watch.Elapsed.TotalSeconds:F1} s)");
                if (caught is null)
                {
                    survivors.Add(site);
                }
            }
        }
        finally
        {
            StandIn.SetTimeLimit(0);
        }

        Assert.NotEmpty(sites);
        Assert.True(survivors.Count == 0, $"no test fails without {string.Join("; ", survivors)}");
        if (_asked == "all")
        {
            Assert.Empty(Unreached(sites));
        }
    }

    private bool IsAsked(string site) => _asked is "" or "all" || _asked.Split(',').Contains(FileOf(site));

    /// <summary>The tests that come by any place, the fastest first.</summary>
    private List<ReachingCheck> FindChecks()
    {
        List<ReachingCheck> checks = [];
        foreach (KernelCheck check in KernelCheck.All(IsThorough ? int.MaxValue : CasesOfATheory))
        {
            Stopwatch watch = Stopwatch.StartNew();
            string? failure = null;
            IReadOnlyList<string> sites = StandIn.SitesReachedBy(() => failure = check.Run());
            Assert.True(failure is null, $"{check.Name} fails as it is: {failure}");
            if (sites.Count > 0)
            {
                checks.Add(new ReachingCheck(check, watch.Elapsed, [.. IsThorough ? sites : sites.Select(InEveryKernel)]));
                Report($"{watch.Elapsed.TotalSeconds:F2} s {check.Name}");
            }
        }

        checks.Sort((a, b) => a.Time.CompareTo(b.Time));
        Report($"{checks.Count} tests reach a place, in {checks.Sum(check => check.Time.TotalSeconds):F1} s");
        return checks;
    }

    /// <summary>
    /// Tests that may need a place: those that were seen to come by it (by a mask: to be kept out), then the cases that were not tried of theories
    /// that come by any place of the file.
    /// </summary>
    private IEnumerable<KernelCheck> Attempts(string site, List<ReachingCheck> checks)
    {
        ReachingCheck[] reaching = [.. checks.Where(check => check.Sites.Contains(site))];
        string file = FileOf(site);
        HashSet<string> methods = [.. checks.Where(check => check.Sites.Any(other => FileOf(other) == file)).Select(check => check.Check.Method)];
        return reaching.Select(check => check.Check)
            .Concat(IsThorough ? [] : KernelCheck.All(int.MaxValue).Where(check => check.Case >= CasesOfATheory && methods.Contains(check.Method)));
    }

    /// <summary>The first test, and the order of threads, that fails without a place. Without a mask it fails under any.</summary>
    private static string? Catch(string site, IEnumerable<KernelCheck> checks, IEnumerable<KernelSchedule> schedules, ref int runs)
    {
        foreach (KernelCheck check in checks)
        {
            foreach (KernelSchedule schedule in schedules)
            {
                runs++;
                StandIn.SetSchedule(schedule);
                StandIn.Omit(site);
                try
                {
                    if (check.Run() is { } failure)
                    {
                        return $"{schedule}, {check.Name}: {failure}";
                    }
                }
                finally
                {
                    StandIn.Omit("");
                    StandIn.Reset();
                }
            }
        }

        return null;
    }

    /// <summary>Lines of kernel files with a barrier or a mark that no test comes by.</summary>
    private static IEnumerable<string> Unreached(string[] sites)
    {
        HashSet<string> reached = [.. sites.Select(site => string.Join(':', PlaceOf(site).Split(':')[..2]))];
        string kernels = Path.Combine(GoldenData.RepositoryRoot()!, "src", "Cuda", "Kernels");
        return Directory.GetFiles(kernels, "*.cu*", SearchOption.AllDirectories)
            .Where(file => Path.GetFileName(file) != "common.cuh")
            .SelectMany(file => File.ReadLines(file).Select((line, i) => (Place: $"{Path.GetFileName(file)}:{i + 1}", Line: line)))
            .Where(at => Watched().IsMatch(at.Line) && !reached.Contains(at.Place))
            .Select(at => $"{at.Place} {at.Line.Trim()}");
    }

    /// <summary>"kernel file:line:column what" without the kernel.</summary>
    private static string PlaceOf(string site) => site[(site.IndexOf(' ', StringComparison.Ordinal) + 1)..];

    private static string FileOf(string site) => PlaceOf(site).Split(':')[0];

    private static string InEveryKernel(string site) => $"* {PlaceOf(site)}";

    private void Report(string line)
    {
        _output.WriteLine(line);
        File.AppendAllText(_report, line + "\n");
    }

    [GeneratedRegex(@"^(?!\s*//).*(__syncthreads\(\)|__syncwarp\(|\bMASK\()")]
    private static partial Regex Watched();

    private sealed record ReachingCheck(KernelCheck Check, TimeSpan Time, HashSet<string> Sites);
}
