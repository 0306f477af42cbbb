using System.Text.Json;
using InferenceServer.AdapterStore.Import;
using InferenceServer.Training;
using InferenceServer.Training.Checkpoints;
using InferenceServer.Training.Data;
using InferenceServer.Training.Runs;
using Xunit;

namespace InferenceServer.UnitTests.Training.Runs;

/// <summary>A run from its first step to its adapters, whatever comes between.</summary>
[Trait("Category", "Training")]
public sealed class TrainingRunTests : IDisposable
{
    private const string Lora =
        """{"peft_type": "LORA", "r": 4, "lora_alpha": 8, "lora_dropout": 0.2, "target_modules": ["q_proj", "v_proj", "down_proj"]}""";

    private const string AdaLora = """
        {"peft_type": "ADALORA", "init_r": 4, "target_r": 2, "tinit": 1, "tfinal": 2, "total_step": 10, "deltaT": 2, "lora_dropout": 0.1,
         "target_modules": ["q_proj", "down_proj"]}
        """;

    private static readonly RunOptions s_options =
        new() { Steps = 10, MicroBatches = 2, DataSeed = 7, EvaluateEvery = 2, CheckpointEvery = 3, KeepCheckpoints = 2 };

    private static readonly (Dataset Train, Dataset HeldOut) s_data = RunBench.Samples.Split(0.2, seed: 1);

    private readonly string _folder = Directory.CreateTempSubdirectory("run-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Theory]
    [InlineData(Lora)]
    [InlineData(AdaLora)]
    public void A_run_stopped_and_resumed_at_any_step_ends_as_one_that_was_not(string config)
    {
        using RunBench whole = new(config);
        List<TrainingEvent> expected = [];
        RunResult uninterrupted = Create(whole, Path.Combine(_folder, "whole")).Run(expected.Add);
        Assert.Equal(RunOutcome.Completed, uninterrupted.Outcome);

        string folder = Path.Combine(_folder, "parts");
        List<TrainingEvent> events = [];
        foreach (int stopAfter in (int[])[1, 4, 6])
        {
            using CancellationTokenSource stop = new();
            using RunBench part = new(config);
            RunResult stopped = Create(part, folder).Run(
                happened =>
                {
                    events.Add(happened);
                    if (happened is StepDone { Step: int step } && step == stopAfter)
                    {
                        stop.Cancel();
                    }
                },
                stop.Token);
            Assert.Equal(RunOutcome.Cancelled, stopped.Outcome);
            Assert.Equal(stopAfter, stopped.StepCount);
        }

        using RunBench last = new(config);
        RunResult resumed = Create(last, folder).Run(events.Add);

        Assert.Equal(RunOutcome.Completed, resumed.Outcome);
        Assert.Equal(whole.Bits(), last.Bits());
        Assert.Equal(Losses(expected), Losses(events));
        Assert.Equal((uninterrupted.BestLoss, uninterrupted.BestStep), (resumed.BestLoss, resumed.BestStep));
        Assert.Equal(Weights(uninterrupted.BestAdapter), Weights(resumed.BestAdapter));
        Assert.Equal(Weights(uninterrupted.LastAdapter), Weights(resumed.LastAdapter));
    }

    [Fact]
    public void A_killed_run_goes_on_from_its_last_checkpoint_to_the_same_bits()
    {
        using RunBench whole = new(Lora);
        Create(whole, Path.Combine(_folder, "whole")).Run();
        string folder = Path.Combine(_folder, "killed");
        using RunBench killed = new(Lora);

        // Nothing of the run gets a chance to tidy up, as little as in a killed process.
        Assert.Throws<OperationCanceledException>(
            () => Create(killed, folder).Run(happened => Stop(happened is StepDone { Step: 8 })));
        File.AppendAllText(Path.Combine(folder, TrainingRun.LogName), "{\"event\": \"st");
        using RunBench resumed = new(Lora);
        List<TrainingEvent> events = [];
        Create(resumed, folder).Run(events.Add);

        Assert.Equal(6, Assert.IsType<RunStarted>(events[0]).Step);
        Assert.Equal(whole.Bits(), resumed.Bits());
        string[] log = File.ReadAllLines(Path.Combine(folder, TrainingRun.LogName));
        Assert.Equal("{\"event\": \"st", Assert.Single(log, line => !line.EndsWith('}')));

        static void Stop(bool isTime)
        {
            if (isTime)
            {
                throw new OperationCanceledException();
            }
        }
    }

    [Fact]
    public void What_happens_is_told_and_logged_with_pace_and_time_left()
    {
        using RunBench bench = new(Lora);
        List<TrainingEvent> events = [];

        RunResult result = Create(bench, _folder, s_options with { Steps = 4 }, new TickingClock()).Run(events.Add);

        Assert.Equal(
            [
                "RunStarted 0", "StepDone 1", "StepDone 2", "Evaluated 2", "StepDone 3", "CheckpointSaved 3", "StepDone 4", "Evaluated 4",
                "CheckpointSaved 4", "RunEnded 4",
            ],
            events.Select(happened => $"{happened.GetType().Name} {happened.Step}"));
        BatchSource source = new(s_data.Train, 64, 64, seed: 7);
        int tokens = source.Next().TokenCount + source.Next().TokenCount;
        StepDone first = events.OfType<StepDone>().First();

        // The clock ticks a second at each look: one between a step's start and end, and one more before the first step's start.
        Assert.Equal(tokens, first.TokensPerSecond);
        Assert.Equal(TimeSpan.FromSeconds(2 * 3), first.TimeLeft);
        Assert.Equal(TimeSpan.Zero, events.OfType<StepDone>().Last().TimeLeft);
        Evaluated evaluation = events.OfType<Evaluated>().Last();
        Assert.Equal(Math.Exp(evaluation.Loss), evaluation.Perplexity);
        Assert.Equal(result.BestLoss, events.OfType<Evaluated>().Min(each => each.Loss));

        JsonElement[] log = [.. File.ReadAllLines(Path.Combine(_folder, TrainingRun.LogName)).Select(line => JsonElement.Parse(line))];
        Assert.Equal(
            ["start", "step", "step", "evaluation", "step", "checkpoint", "step", "evaluation", "checkpoint", "end"],
            log.Select(line => line.GetProperty("event").GetString()));
        Assert.Equal(first.Loss, log[1].GetProperty("loss").GetDouble());
        Assert.Equal(tokens, log[1].GetProperty("tokens_per_second").GetDouble());
        Assert.Equal("Completed", log[^1].GetProperty("outcome").GetString());
    }

    [Fact]
    public void The_held_out_loss_is_the_mean_over_all_labels_whatever_the_batches()
    {
        using RunBench bench = new(AdaLora);
        bench.Train(2);

        EvaluationResult packed = EvaluationResult.Of(bench.Trainer, new BatchSource(s_data.HeldOut, 64, 64, seed: null).Batches);
        EvaluationResult single = EvaluationResult.Of(bench.Trainer, new BatchSource(s_data.HeldOut, 64, 1, seed: null).Batches);

        Assert.Equal(single.LabelCount, packed.LabelCount);
        Assert.Equal(single.Loss, packed.Loss, 1e-6);
    }

    [Fact]
    public void A_held_out_loss_that_does_not_fall_ends_the_run()
    {
        RunOptions options = s_options with { EvaluateEvery = 1, Patience = 3, MinImprovement = 100 };
        using RunBench bench = new(Lora);
        RunResult result = Create(bench, _folder, options).Run();

        Assert.Equal(RunOutcome.StoppedEarly, result.Outcome);
        Assert.Equal(4, result.StepCount);
        Assert.Equal(1, result.BestStep);
        using RunBench again = new(Lora);
        Assert.Equal(4, Create(again, _folder, options).Run().StepCount);
    }

    [Fact]
    public void The_best_and_the_last_adapter_are_read_by_the_importer()
    {
        using RunBench bench = new(Lora);
        RunResult result = Create(bench, _folder).Run();
        PeftImporter importer = new(bench.Model.Shape);

        Assert.NotNull(importer.Import(result.LastAdapter!, "last").Weights);
        Assert.NotNull(importer.Import(result.BestAdapter!, "best").Weights);
        Assert.EndsWith($"{result.BestStep:D8}", result.BestAdapter, StringComparison.Ordinal);
        Assert.Single(Directory.GetDirectories(_folder, "adapter-best-*"));
        Assert.Empty(Directory.GetFileSystemEntries(_folder, ".*"));
    }

    [Fact]
    public void A_loss_that_is_no_number_names_the_step_and_keeps_the_last_good_checkpoint()
    {
        using RunBench bench = new(Lora);
        byte[] atThree = [];
        List<TrainingEvent> events = [];

        TrainingFailedException error = Assert.Throws<TrainingFailedException>(() => Create(bench, _folder).Run(happened =>
        {
            events.Add(happened);
            if (happened is CheckpointSaved { Step: 3 })
            {
                atThree = bench.Bits();
                bench.Backend.Write([float.NaN], bench.Trainer.Parameters[1].ValueBuffer);
            }
        }));

        Assert.Contains("step 4", error.Message, StringComparison.Ordinal);
        Assert.Contains("the last good checkpoint is", error.Message, StringComparison.Ordinal);
        Assert.Contains("step-00000003", error.Message, StringComparison.Ordinal);
        Assert.Equal(error.Message, Assert.IsType<RunFailed>(events[^1]).Reason);
        using RunBench resumed = new(Lora);
        new CheckpointStore(Path.Combine(_folder, "checkpoints"), 2).RestoreLatest(resumed.Trainer);
        Assert.Equal(atThree, resumed.Bits());
    }

    [Fact]
    public void A_checkpoint_that_cannot_be_written_is_told_and_names_its_place()
    {
        File.WriteAllText(Path.Combine(_folder, "checkpoints"), "in the way");
        using RunBench bench = new(Lora);
        List<TrainingEvent> events = [];

        CheckpointException error = Assert.Throws<CheckpointException>(() => Create(bench, _folder).Run(events.Add));

        Assert.Contains(Path.Combine(_folder, "checkpoints"), error.Message, StringComparison.Ordinal);
        Assert.Equal((3, error.Message), (events[^1].Step, Assert.IsType<RunFailed>(events[^1]).Reason));
        Assert.Contains("\"event\":\"failure\"", File.ReadAllLines(Path.Combine(_folder, TrainingRun.LogName))[^1], StringComparison.Ordinal);
    }

    [Fact]
    public void Other_data_or_another_order_does_not_go_on_with_a_run()
    {
        using RunBench bench = new(Lora);
        Create(bench, _folder, s_options with { Steps = 1 }).Run();

        using RunBench next = new(Lora);
        Assert.Contains(
            "DataSeed 7, this run has 8",
            Assert.Throws<CheckpointException>(() => Create(next, _folder, s_options with { DataSeed = 8 }).Run()).Message,
            StringComparison.Ordinal);
        (Dataset train, Dataset heldOut) = RunBench.Samples.Split(0.2, seed: 2);
        Assert.Contains(
            "data set",
            Assert.Throws<CheckpointException>(() => new TrainingRun(next.Trainer, train, heldOut, s_options, _folder).Run()).Message,
            StringComparison.Ordinal);
    }

    [Fact]
    public void Options_that_make_no_sense_are_refused_by_name()
    {
        using RunBench bench = new(Lora);
        void Refused(string name, RunOptions options) => Assert.Contains(
            name, Assert.Throws<ArgumentException>(() => Create(bench, _folder, options)).Message, StringComparison.Ordinal);

        Refused("Steps is 0", s_options with { Steps = 0 });
        Refused("MicroBatches is 0", s_options with { MicroBatches = 0 });
        Refused("EvaluateEvery is -1", s_options with { EvaluateEvery = -1 });
        Refused("KeepCheckpoints is 0", s_options with { KeepCheckpoints = 0 });
        Refused("Patience 2 needs", s_options with { Patience = 2, EvaluateEvery = 0 });
    }

    private static TrainingRun Create(RunBench bench, string folder, RunOptions? options = null, TimeProvider? clock = null) =>
        new(bench.Trainer, s_data.Train, s_data.HeldOut, options ?? s_options, folder, clock);

    private static IEnumerable<(int, double)> Losses(IEnumerable<TrainingEvent> events) => events.SelectMany(happened => happened switch
    {
        StepDone step => [(step.Step, step.Loss)],
        Evaluated evaluation => [(evaluation.Step, evaluation.Loss)],
        _ => Array.Empty<(int, double)>(),
    });

    private static byte[] Weights(string? folder) => File.ReadAllBytes(Path.Combine(folder!, PeftImporter.WeightsFileName));

    /// <summary>A second passes at each look.</summary>
    private sealed class TickingClock : TimeProvider
    {
        private long _seconds;

        public override long TimestampFrequency => 1;

        public override long GetTimestamp() => _seconds++;
    }
}
