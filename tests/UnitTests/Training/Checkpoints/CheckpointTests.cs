using InferenceServer.AdapterStore.Catalog;
using InferenceServer.Training;
using InferenceServer.Training.Checkpoints;
using InferenceServer.Training.Optimisation;
using Xunit;

namespace InferenceServer.UnitTests.Training.Checkpoints;

/// <summary>Resumed equals uninterrupted in every bit, and no failure of a file loses a checkpoint.</summary>
[Trait("Category", "Training")]
public sealed class CheckpointTests : IDisposable
{
    private const string Lora =
        """{"peft_type": "LORA", "r": 4, "lora_alpha": 8, "lora_dropout": 0.2, "target_modules": ["q_proj", "v_proj", "down_proj"]}""";

    private const string AdaLora = """
        {"peft_type": "ADALORA", "init_r": 4, "target_r": 2, "tinit": 1, "tfinal": 2, "total_step": 8, "deltaT": 2, "lora_dropout": 0.1,
         "target_modules": ["q_proj", "down_proj"]}
        """;

    private const string DeltaLoraEarly =
        """{"peft_type": "LORA", "r": 4, "delta_lora_config": {"ratio": 0.5, "warm_up_steps": 2}, "target_modules": ["q_proj"]}""";

    private const string DeltaLoraLate =
        """{"peft_type": "LORA", "r": 4, "delta_lora_config": {"ratio": 0.5, "warm_up_steps": 6}, "target_modules": ["q_proj"]}""";

    private readonly string _folder = Directory.CreateTempSubdirectory("checkpoint-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Theory]
    [InlineData(Lora, OptimizerKind.AdamW)]
    [InlineData(Lora, OptimizerKind.LoraPlus)]
    [InlineData("""{"peft_type": "LORA", "r": 4, "target_modules": ["q_proj", "v_proj"]}""", OptimizerKind.LoraFa)]
    [InlineData(AdaLora, OptimizerKind.AdamW)]
    [InlineData("""{"peft_type": "LORA", "r": 4, "use_dora": true, "target_modules": ["q_proj"]}""", OptimizerKind.AdamW)]
    [InlineData("""{"peft_type": "VERA", "r": 8, "vera_dropout": 0.2, "target_modules": ["q_proj", "down_proj"]}""", OptimizerKind.AdamW)]
    [InlineData("""{"peft_type": "LORA", "r": 3, "init_lora_weights": "olora", "target_modules": ["q_proj"]}""", OptimizerKind.AdamW)]
    [InlineData(DeltaLoraLate, OptimizerKind.AdamW)]
    [InlineData(DeltaLoraEarly, OptimizerKind.AdamW)]
    [InlineData(null, OptimizerKind.AdamW)]
    public void Four_steps_resumed_for_four_more_are_eight_steps_in_every_bit(string? config, OptimizerKind optimizer)
    {
        CheckpointStore store = new(_folder, keepLast: 2);
        using RunBench whole = new(config, optimizer);
        double[] losses = whole.Train(8);

        using RunBench first = new(config, optimizer);
        double[] before = first.Train(4);
        store.Save(first.Trainer, new RunProgress { Position = first.Source.Position });
        using RunBench second = new(config, optimizer);
        second.Source.Position = store.RestoreLatest(second.Trainer)!.Position;
        double[] after = second.Train(4);

        Assert.Equal(losses, before.Concat(after));
        Assert.Equal(8, second.Trainer.StepCount);
        Assert.Equal(whole.Bits(), second.Bits());
        Assert.Equal(whole.Trainer.KeptComponents, second.Trainer.KeptComponents);
        Assert.NotEqual(first.Bits(), second.Bits());

        // Moments and averages too: what they decide may be the same by chance.
        TrainerState expected = whole.Trainer.CaptureState();
        TrainerState found = second.Trainer.CaptureState();
        Assert.Equal(expected.ForwardCount, found.ForwardCount);
        Assert.Equal(expected.Tensors, found.Tensors);
    }

    [Fact]
    public void AdaLora_is_resumed_between_two_prunings()
    {
        using RunBench bench = new(AdaLora);
        bench.Train(4);

        // Otherwise the test above would not see what the allocator keeps.
        Assert.Contains(bench.Trainer.KeptComponents!.Values, mask => mask.Contains(false));
        Assert.Contains(bench.Trainer.CaptureState().Tensors, tensor => tensor.Key.StartsWith("sensitivity.", StringComparison.Ordinal));
    }

    [Fact]
    public void A_stop_before_any_change_of_the_disk_leaves_a_whole_checkpoint()
    {
        using RunBench bench = new(Lora);
        CheckpointStore calm = new(_folder, keepLast: 1);
        bench.Train(1);
        calm.Save(bench.Trainer, new RunProgress { BestStep = 1 });
        byte[] first = bench.Bits();
        bench.Train(1);
        byte[] second = bench.Bits();
        bool isSaved = false;
        HashSet<string> stopped = [];
        for (int stopAt = 0; !isSaved; stopAt++)
        {
            StoppingFiles files = new(stopAt);
            CheckpointStore store = new(_folder, keepLast: 1, files);
            try
            {
                store.Save(bench.Trainer, new RunProgress { BestStep = 2 });
                isSaved = true;
            }
            catch (CheckpointException error)
            {
                Assert.Contains("no space left", error.Message, StringComparison.Ordinal);
                stopped.Add(files.Stopped!);
            }

            using RunBench resumed = new(Lora);
            RunProgress? progress = calm.RestoreLatest(resumed.Trainer);
            Assert.Equal(progress!.BestStep == 1 ? first : second, resumed.Bits());
            Assert.Empty(calm.Damaged);
        }

        HashSet<string> steps =
            ["create directory", "create file", "write", "write the rest", "sync file", "sync directory", "move directory", "delete"];
        Assert.Superset(steps, stopped);
        Assert.Single(Directory.GetFileSystemEntries(_folder));
    }

    [Fact]
    public void What_a_kill_left_half_written_is_not_seen_and_goes_with_the_next_one()
    {
        using RunBench bench = new(Lora);
        CheckpointStore store = new(_folder, keepLast: 3);
        bench.Train(1);
        string whole = store.Save(bench.Trainer, new RunProgress { BestStep = 1 });
        string half = Path.Combine(_folder, ".writing-00000002-step-00000002");
        Directory.CreateDirectory(half);
        File.WriteAllBytes(Path.Combine(half, "state.safetensors"), File.ReadAllBytes(Path.Combine(whole, "state.safetensors"))[..100]);

        Assert.Equal(1, store.RestoreLatest(bench.Trainer)!.BestStep);
        Assert.Equal(whole, store.Latest);
        bench.Train(1);
        store.Save(bench.Trainer, new RunProgress { BestStep = 2 });

        Assert.False(Directory.Exists(half));
        Assert.Equal(2, store.RestoreLatest(bench.Trainer)!.BestStep);
    }

    [Fact]
    public void The_last_ones_are_kept_and_a_damaged_one_is_passed_over_by_name()
    {
        using RunBench bench = new(Lora);
        CheckpointStore store = new(_folder, keepLast: 3);
        for (int step = 1; step <= 5; step++)
        {
            bench.Train(1);
            store.Save(bench.Trainer, new RunProgress { BestStep = step });
        }

        Assert.Equal(
            ["00000003-step-00000003", "00000004-step-00000004", "00000005-step-00000005"],
            Directory.GetDirectories(_folder).Select(Path.GetFileName).Order(StringComparer.Ordinal));
        string state = Path.Combine(store.Latest!, "state.safetensors");
        byte[] bytes = File.ReadAllBytes(state);
        bytes[^5] ^= 1;
        File.WriteAllBytes(state, bytes);
        File.Delete(Path.Combine(_folder, "00000004-step-00000004", "state.sha256"));

        Assert.Equal(3, store.RestoreLatest(bench.Trainer)!.BestStep);
        Assert.Equal(2, store.Damaged.Count);
        Assert.Contains("00000005", store.Damaged[0], StringComparison.Ordinal);
        Assert.Contains("SHA-256", store.Damaged[0], StringComparison.Ordinal);

        File.Delete(Path.Combine(_folder, "00000003-step-00000003", "state.safetensors"));
        Assert.Throws<CheckpointException>(() => store.RestoreLatest(bench.Trainer));
    }

    [Fact]
    public void Another_run_is_not_gone_on_with()
    {
        using RunBench bench = new(Lora);
        CheckpointStore store = new(_folder, keepLast: 1);
        store.Save(bench.Trainer, new RunProgress { Conditions = new Dictionary<string, string> { ["data set"] = "one" } });
        byte[] before = bench.Bits();

        using RunBench otherRate = new(Lora, learningRate: 1e-4);
        using RunBench otherRank = new(Lora.Replace("\"r\": 4", "\"r\": 5", StringComparison.Ordinal));
        string Refused(Trainer trainer, string data) => Assert.Throws<CheckpointException>(
            () => store.RestoreLatest(trainer, new Dictionary<string, string> { ["data set"] = data })).Message;

        Assert.Contains("LearningRate 0.005, this run has 0.0001", Refused(otherRate.Trainer, "one"), StringComparison.Ordinal);
        Assert.Contains("recipe", Refused(otherRank.Trainer, "one"), StringComparison.Ordinal);
        Assert.Contains("data set one, this run has two", Refused(bench.Trainer, "two"), StringComparison.Ordinal);
        Assert.Equal(before, bench.Bits());
    }

    [Fact]
    public void Another_start_of_frozen_values_is_not_gone_on_with()
    {
        const string FrozenA = """{"peft_type": "LORA", "r": 4, "target_modules": ["q_proj"]}""";
        using RunBench bench = new(FrozenA, OptimizerKind.LoraFa);
        CheckpointStore store = new(_folder, keepLast: 1);
        store.Save(bench.Trainer, new RunProgress());
        Parameter a = bench.Trainer.Parameters.First(parameter => !parameter.IsTrained);
        bench.Backend.Write(new float[a.Count], a.ValueBuffer);

        CheckpointException error = Assert.Throws<CheckpointException>(() => store.RestoreLatest(bench.Trainer));

        Assert.Contains(a.Name, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Values_that_are_no_numbers_are_not_written_over_a_good_checkpoint()
    {
        using RunBench bench = new(Lora);
        CheckpointStore store = new(_folder, keepLast: 1);
        string good = store.Save(bench.Trainer, new RunProgress());
        bench.Backend.Write([float.PositiveInfinity], bench.Trainer.Parameters[1].ValueBuffer);

        TrainingFailedException error = Assert.Throws<TrainingFailedException>(() => store.Save(bench.Trainer, new RunProgress()));

        Assert.Contains(bench.Trainer.Parameters[1].Name, error.Message, StringComparison.Ordinal);
        Assert.Equal(good, store.Latest);
        Assert.NotNull(store.RestoreLatest(bench.Trainer));
    }

    [Fact]
    public void Without_a_checkpoint_there_is_nothing_to_restore()
    {
        using RunBench bench = new(Lora);

        Assert.Null(new CheckpointStore(Path.Combine(_folder, "none"), keepLast: 1).RestoreLatest(bench.Trainer));
    }

    /// <summary>Every change of the disk from a given one on fails, as on a full disk or after a crash.</summary>
    private sealed class StoppingFiles(int stopAt) : StoreFiles
    {
        private int _count;

        public string? Stopped { get; private set; }

        protected override void Step(string operation, string path)
        {
            if (_count++ >= stopAt)
            {
                Stopped ??= operation;
                throw new IOException("no space left on device");
            }
        }
    }
}
