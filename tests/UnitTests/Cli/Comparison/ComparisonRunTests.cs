using InferenceServer.Cli;
using InferenceServer.Cli.Charts;
using InferenceServer.Cli.Comparison;
using InferenceServer.Client;
using Xunit;

namespace InferenceServer.UnitTests.Cli.Comparison;

/// <summary>Every method gets its own rate, a failed job is a row, and an interruption costs one job at most.</summary>
public sealed class ComparisonRunTests : IDisposable
{
    private static readonly double[] s_rates = [1e-3, 1e-2];

    private static readonly Dictionary<string, string> s_conditions = new() { ["spec"] = "s", ["data set"] = "d" };

    private readonly string _folder = Directory.CreateTempSubdirectory("compare-").FullName;
    private readonly List<string> _lines = [];

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public async Task The_rate_with_the_lowest_held_out_loss_wins()
    {
        FakeRunner runner = new((_, rate) => Math.Abs(Math.Log10(rate) - Math.Log10(0.009)));

        (IReadOnlyList<TunedContender> tuned, _) = await RunAsync(runner, Contenders("lora", "full"));

        Assert.Equal([1e-2, 1e-2], tuned.Select(row => row.Best.Rate));
    }

    [Fact]
    public async Task Rates_follow_the_methods_factor_and_go_on_beyond_an_end_that_is_best()
    {
        FakeRunner runner = new((contender, rate) => contender == "full" ? Math.Abs(Math.Log10(rate) + 5) : rate);

        await RunAsync(runner, Contenders("full", "lora"));

        Assert.Equal([1e-4, 1e-3, 1e-5, 1e-6], runner.Rates("full"));
        Assert.Equal([1e-3, 1e-2, 1e-4, 1e-5], runner.Rates("lora r8"));
    }

    [Fact]
    public async Task A_failed_job_is_not_the_end()
    {
        FakeRunner runner = new((contender, rate) => contender == "ia3" || rate > 5e-3 ? double.NaN : 1);

        (IReadOnlyList<TunedContender> tuned, IReadOnlyList<Trial> repeats) = await RunAsync(runner, Contenders("lora", "ia3"), repeats: 2);

        Assert.Equal(1e-3, tuned[0].Best.Rate);
        Assert.False(tuned[1].Best.Succeeded);
        Assert.Equal(["lora r8 seed +1", "lora r8 seed +2"], repeats.Select(trial => trial.Contender));
        Assert.Contains("ia3 at 1E-2: failed: the loss is NaN", _lines);
    }

    [Fact]
    public async Task An_interrupted_comparison_goes_on_where_it_was()
    {
        FakeRunner first = new((_, _) => 1) { FailsAfter = 2 };
        await Assert.ThrowsAsync<OperationCanceledException>(() => RunAsync(first, Contenders("lora", "dora")));

        FakeRunner second = new((_, _) => 1);
        (IReadOnlyList<TunedContender> tuned, _) = await RunAsync(second, Contenders("lora", "dora"));

        Assert.Equal(2, tuned.Count);
        Assert.DoesNotContain(second.Tried, trial => first.Tried.Take(2).Contains(trial));

        // The job that was running is taken up, and no other.
        Assert.Equal("job-3", second.TakenUp[0]);
        Assert.All(second.TakenUp.Skip(1), Assert.Null);
    }

    [Fact]
    public async Task What_was_measured_is_the_same_after_an_interruption()
    {
        FakeRunner first = new((_, rate) => 0.1 + rate);
        (IReadOnlyList<TunedContender> before, _) = await RunAsync(first, Contenders("lora"));
        FakeRunner second = new((_, _) => throw new InvalidOperationException("everything is done"));

        (IReadOnlyList<TunedContender> after, _) = await RunAsync(second, Contenders("lora"));

        Assert.Equal(before[0].Best.HeldOut, after[0].Best.HeldOut);
        Assert.Equal(before[0].Best with { HeldOut = [] }, after[0].Best with { HeldOut = [] });
    }

    [Fact]
    public void Another_task_is_not_mixed_in()
    {
        ComparisonState.Open(_folder, s_conditions).Ended(new Trial { Contender = "lora", Rate = 1, Job = "j" });

        UsageException error = Assert.Throws<UsageException>(
            () => ComparisonState.Open(_folder, new Dictionary<string, string>(s_conditions) { ["data set"] = "other" }));

        Assert.Contains("another data set ('d', now 'other')", error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(1.5, 50)]
    [InlineData(1.45, 55)]
    [InlineData(1.0, 100)]
    [InlineData(1.95, 10)]
    public void Steps_to_a_loss_are_counted_between_evaluations(double loss, int steps)
    {
        Trial trial = new MadeUpTable().Row("lora", 1).Build().Rows[0].Best;

        Assert.Equal(steps, trial.StepsTo(loss));
        Assert.Equal(steps / 2.0, trial.SecondsTo(loss));
        Assert.Null(trial.StepsTo(0.99));
    }

    [Fact]
    public void All_methods_are_compared_with_the_ranks_that_their_claims_need()
    {
        IReadOnlyList<Contender> contenders = InferenceServer.Cli.Comparison.Contenders.Create(InferenceServer.Cli.Comparison.Contenders.Methods, 8, [2, 32]);

        Assert.Equal(
            [
                "lora r2", "lora r8", "lora r32", "rslora r2", "rslora r8", "rslora r32", "lora-plus r8", "lora-fa r8",
                "lora-fa-projected r8", "dora r2", "dora r8", "vera r256", "adalora r8", "pissa r8", "olora r8", "ia3", "lora-drop r8",
                "delta-lora r8", "qlora r8", "full",
            ],
            contenders.Select(contender => contender.Name));
        Assert.All(contenders.Where(contender => contender.Method.Name is "lora" or "rslora"), each => Assert.Equal(16, each.Alpha));
    }

    private Task<(IReadOnlyList<TunedContender> Tuned, IReadOnlyList<Trial> Repeats)> RunAsync(
        FakeRunner runner, Contender[] contenders, int repeats = 0) =>
        new ComparisonRun(runner, ComparisonState.Open(_folder, s_conditions), _lines.Add)
            .RunAsync(contenders, s_rates, contenders[0], repeats, CancellationToken.None);

    private static Contender[] Contenders(params string[] names) => [.. names.Select(name =>
    {
        TrainingMethods.TryGet(name, out TrainingMethod? method);
        return new Contender(method! with { RateFactor = name == "full" ? 0.1 : 1 }, method!.DefaultRank, 0);
    })];

    /// <summary>Answers with a loss by rule.</summary>
    private sealed class FakeRunner(Func<string, double, double> loss) : ITrialRunner
    {
        public int FailsAfter { get; init; } = int.MaxValue;

        public List<(string Contender, double Rate)> Tried { get; } = [];

        public List<string?> TakenUp { get; } = [];

        public double[] Rates(string contender) => [.. Tried.Where(trial => trial.Contender == contender).Select(trial => trial.Rate)];

        public Task<Trial> RunAsync(
            Contender contender, double rate, string? job, Action<string> began, CancellationToken cancellationToken)
        {
            Tried.Add((contender.Name, rate));
            TakenUp.Add(job);
            began($"job-{Tried.Count}");
            if (Tried.Count > FailsAfter)
            {
                throw new OperationCanceledException();
            }

            double value = loss(contender.Name, rate);
            return Task.FromResult(new Trial
            {
                Contender = contender.Name,
                Rate = rate,
                Job = $"job-{Tried.Count}",
                Error = double.IsNaN(value) ? "the loss is NaN" : "",
                HeldOut = double.IsNaN(value) ? [] : [new ChartPoint(10, value + 1), new ChartPoint(20, value)],
                Steps = 20,
            });
        }
    }
}
