using Google.Protobuf.WellKnownTypes;
using InferenceServer.Cli.Charts;
using InferenceServer.Cli.Jobs;
using InferenceServer.Protocol.V1;
using Xunit;

namespace InferenceServer.UnitTests.Cli;

/// <summary>What a person reads while a job runs.</summary>
public sealed class JobProgressTests
{
    [Fact]
    public void Beside_the_bar_stand_step_losses_speed_and_time_left()
    {
        JobProgress progress = Running(total: 300);
        progress.Apply(Done(30, 1.5));
        progress.Apply(Judged(30, 1.25, best: true));
        progress.Apply(Done(31, 1.4375, tokensPerSecond: 1234.4, left: TimeSpan.FromSeconds(83)));

        Assert.Equal(
            "step 31/300  loss 1.4375  held-out 1.2500  1,234 tokens/s  1:23 left", ProgressText.Beside(progress));
    }

    [Fact]
    public void Before_the_first_step_and_at_rest_stands_the_state()
    {
        JobProgress progress = new();
        progress.Apply(new TrainingEvent { State = TrainingState.Queued });
        string waiting = ProgressText.Beside(progress);
        progress.Apply(Begun(10));
        progress.Apply(Done(10, 0.5));
        progress.Apply(new TrainingEvent { State = TrainingState.StoppedEarly });

        Assert.Equal("queued", waiting);
        Assert.Equal("stopped early", ProgressText.Beside(progress));
        Assert.True(progress.IsAtRest);
    }

    [Fact]
    public void Lines_are_about_twenty_for_the_steps_and_one_for_each_evaluation()
    {
        JobProgress progress = Running(total: 100);
        List<string> lines = [];
        for (int step = 1; step <= 100; step++)
        {
            TrainingEvent done = Done(step, 2);
            progress.Apply(done);
            if (ProgressText.Line(done, progress) is { } line)
            {
                lines.Add(line);
            }
        }

        Assert.Equal(20, lines.Count);
        Assert.StartsWith("step 100/100  loss 2.0000", lines[^1], StringComparison.Ordinal);
        Assert.Equal(
            "step 50/100  held-out loss 1.1250, perplexity 3.0802, best so far", ProgressText.Line(Judged(50, 1.125, true), progress));
        Assert.Equal("step 50/100  held-out loss 1.1250, perplexity 3.0802", ProgressText.Line(Judged(50, 1.125, false), progress));
    }

    [Fact]
    public void A_start_tells_the_sizes_and_what_a_resume_goes_on_from()
    {
        TrainingEvent fresh = Begun(300);
        TrainingEvent resumed = fresh.Clone();
        resumed.Started.ResumedFrom = 200;
        resumed.Started.DamagedCheckpoints.Add("step-00000250");

        Assert.Equal("1,000 samples to learn, 50 held out, 12,345 parameters, 300 steps", ProgressText.Line(fresh, new JobProgress()));
        Assert.EndsWith(
            "300 steps, going on from step 200; damaged checkpoints passed over: step-00000250",
            ProgressText.Line(resumed, new JobProgress()),
            StringComparison.Ordinal);
    }

    [Fact]
    public void After_a_resume_the_curve_has_each_step_once()
    {
        JobProgress progress = Running(total: 4);
        progress.Apply(Done(1, 4));
        progress.Apply(Done(2, 3));
        progress.Apply(Judged(2, 3.5, best: true));
        TrainingEvent again = Begun(4);
        again.Started.ResumedFrom = 1;
        progress.Apply(again);
        progress.Apply(Done(2, 3));

        Assert.Equal([new ChartPoint(1, 4), new ChartPoint(2, 3)], progress.Losses);
        Assert.Empty(progress.HeldOut);
        Assert.Equal(2, progress.Step);
    }

    [Theory]
    [InlineData(TrainingState.Running, false)]
    [InlineData(TrainingState.Queued, false)]
    [InlineData(TrainingState.Completed, true)]
    [InlineData(TrainingState.StoppedEarly, true)]
    [InlineData(TrainingState.Cancelled, true)]
    [InlineData(TrainingState.Failed, true)]
    public void A_job_is_at_rest_or_not(TrainingState state, bool expected) => Assert.Equal(expected, JobProgress.IsRest(state));

    [Fact]
    public void The_end_tells_the_best_loss_the_matches_and_the_name()
    {
        TrainingJob job = new()
        {
            BestLoss = 0.25,
            BestStep = 90,
            TotalSteps = 100,
            ExactMatch = new ExactMatch { Right = 31, Total = 32 },
            PublishedAdapter = "tenant@0123456789abcdef",
        };

        Assert.Equal(
            [
                "best held-out loss 0.2500 at step 90 of 100",
                "exact match 31 of 32 (96.9 %)",
                "published tenant@0123456789abcdef",
            ],
            JobWatcher.Summary(job));
    }

    [Fact]
    public void A_run_folder_has_every_event_the_curve_and_the_summary()
    {
        string path = Directory.CreateTempSubdirectory("run-").FullName;
        try
        {
            JobProgress progress = new();
            using (RunFolder folder = new(Path.Combine(path, "tenant-1")))
            {
                TrainingEvent[] events = [Begun(2), Done(1, 2), Done(2, 1), Judged(2, 1.5, best: true)];
                foreach (TrainingEvent happened in events)
                {
                    progress.Apply(happened);
                    folder.Add(happened);
                }

                folder.Finish(new TrainingJob { Id = "1", Spec = new TrainingSpec { Adapter = "tenant" } }, progress);
            }

            string[] log = File.ReadAllLines(Path.Combine(path, "tenant-1", "log.jsonl"));
            Assert.Equal(4, log.Length);
            Assert.Equal(1.5, TrainingEvent.Parser.ParseJson(log[3]).Evaluated.Loss);
            Assert.Contains("tenant: loss over steps", File.ReadAllText(Path.Combine(path, "tenant-1", "loss.svg")), StringComparison.Ordinal);
            Assert.Equal("tenant", TrainingJob.Parser.ParseJson(File.ReadAllText(Path.Combine(path, "tenant-1", "summary.json"))).Spec.Adapter);
        }
        finally
        {
            Directory.Delete(path, recursive: true);
        }
    }

    private static JobProgress Running(int total)
    {
        JobProgress progress = new();
        progress.Apply(new TrainingEvent { State = TrainingState.Running });
        progress.Apply(Begun(total));
        return progress;
    }

    private static TrainingEvent Begun(int total) => new()
    {
        Started = new RunStarted { TotalSteps = total, Samples = 1000, HeldOut = 50, TrainableParameters = 12345 },
    };

    private static TrainingEvent Done(int step, double loss, double tokensPerSecond = 0, TimeSpan left = default) => new()
    {
        Step = step,
        StepDone = new StepDone { Loss = loss, TokensPerSecond = tokensPerSecond, TimeLeft = Duration.FromTimeSpan(left) },
    };

    private static TrainingEvent Judged(int step, double loss, bool best) => new()
    {
        Step = step,
        Evaluated = new Evaluated { Loss = loss, Perplexity = Math.Exp(loss), Best = best },
    };
}
