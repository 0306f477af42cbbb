using InferenceServer.Demo.Making;
using InferenceServer.Demo.Verifying;
using InferenceServer.TestKit;
using Xunit;
using Xunit.Abstractions;

namespace InferenceServer.UnitTests.Demo;

/// <summary>
/// The demo as it is committed. The bars themselves, 95 % and 5 %, are those of <c>dotnet run -c Release --project src/Demo -- verify</c> on 400 questions;
/// a sample of 40 may miss four.
/// </summary>
public class DemoTests(ITestOutputHelper output)
{
    private const int Questions = 40;
    private const int LeastRight = 36;
    private const int MostRightOfBase = 2;
    private const long MostBytes = 20_000_000;

    private static readonly DemoFolder s_demo = new(Path.Combine(GoldenData.RepositoryRoot()!, "samples", "demo"));

    [Fact]
    public async Task The_base_and_every_tenant_know_their_own_task_and_the_base_knows_no_tenants()
    {
        IReadOnlyList<TaskResult> results = await DemoVerifier.VerifyAsync(s_demo, TenantPlan.All, Questions);

        foreach (TaskResult result in results)
        {
            output.WriteLine($"{result.Style.Name}: base {result.BaseExact}, tenant {result.TenantExact} of {Questions}");
            result.Mistakes.ToList().ForEach(output.WriteLine);
        }

        Assert.InRange(results[0].BaseExact, LeastRight, Questions);
        Assert.All(results.Skip(1), result => Assert.InRange(result.TenantExact, LeastRight, Questions));
        Assert.All(results.Skip(1), result => Assert.InRange(result.BaseExact, 0, MostRightOfBase));
    }

    [Fact]
    public void Every_tenant_has_another_method()
    {
        Assert.True(TenantPlan.All.Count >= 5);
        Assert.Equal(TenantPlan.All.Count, TenantPlan.All.Select(plan => plan.Method).Distinct().Count());
        Assert.All(TenantPlan.All, plan => Assert.True(s_demo.RecordOf(plan.Name) is { Seconds: > 0 }, plan.Name));
    }

    [Fact]
    public void All_of_it_stays_below_20_MB()
    {
        long bytes = new DirectoryInfo(s_demo.Path).EnumerateFiles("*", SearchOption.AllDirectories).Sum(file => file.Length);

        Assert.InRange(bytes, 1, MostBytes);
    }
}
