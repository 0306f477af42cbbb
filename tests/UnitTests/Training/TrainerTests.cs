using InferenceServer.AdapterStore;
using InferenceServer.AdapterStore.Import;
using InferenceServer.Cpu;
using InferenceServer.Cpu.Training;
using InferenceServer.Models.Merging;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Adapters;
using InferenceServer.TestKit.Golden;
using InferenceServer.Training;
using InferenceServer.Training.Export;
using InferenceServer.Training.Optimisation;
using Xunit;
using Bench = InferenceServer.UnitTests.Training.TrainingBench;

namespace InferenceServer.UnitTests.Training;

/// <summary>The trainer beyond PEFT's numbers: equalities, patterns, other tenants, errors.</summary>
[Trait("Category", "Training")]
public sealed class TrainerTests : IDisposable
{
    private const string Lora = """{"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj", "down_proj"]}""";

    private readonly string _folder = Directory.CreateTempSubdirectory("trainer-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Theory]
    [InlineData(Lora)]
    [InlineData("""{"peft_type": "LORA", "r": 4, "use_dora": true, "target_modules": ["q_proj"]}""")]
    [InlineData("""{"peft_type": "VERA", "r": 8, "target_modules": ["q_proj", "down_proj"]}""")]
    [InlineData("""{"peft_type": "ADALORA", "init_r": 4, "target_r": 2, "total_step": 10, "target_modules": ["q_proj", "down_proj"]}""")]
    [InlineData("""{"peft_type": "IA3", "target_modules": ["k_proj", "v_proj", "down_proj"], "feedforward_modules": ["down_proj"]}""")]
    [InlineData("""{"peft_type": "LORA", "r": 2, "target_modules": ["embed_tokens", "lm_head"], "modules_to_save": ["norm"]}""")]
    public void A_fresh_adapter_is_the_base_and_learns_and_is_served_as_trained(string config)
    {
        using Bench bench = new();
        using Trainer trainer = bench.Adapter(config);
        float[] untrained = bench.Serve(null);
        Tolerance.AssertClose(untrained, trainer.Logits(Bench.Tokens), 1e-5, "fresh logits");

        TrainingStep first = trainer.Step(Bench.Batch);
        for (int step = 0; step < 6; step++)
        {
            trainer.Step(Bench.Batch);
        }

        Assert.True(trainer.Evaluate(Bench.Batch) < first.Loss);
        PeftExporter.Write(trainer, _folder);
        Tolerance.AssertClose(trainer.Logits(Bench.Tokens), bench.Serve(_folder), 1e-5, "served logits");
        Assert.Equal(untrained, bench.Serve(null));
    }

    [Fact]
    public void Patterns_and_layers_choose_modules_ranks_and_scales()
    {
        const string Config = """
            {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj"], "layers_to_transform": [1], "use_rslora": true,
             "rank_pattern": {"v_proj": 2}, "alpha_pattern": {"layers.1.self_attn.q_proj": 3}, "modules_to_save": ["norm"]}
            """;
        using Bench bench = new();
        using Trainer trainer = bench.Adapter(Config);

        Assert.Equal(
            [
                "model.layers.1.self_attn.q_proj.lora_A.weight [4, 32]",
                "model.layers.1.self_attn.q_proj.lora_B.weight [32, 4]",
                "model.layers.1.self_attn.v_proj.lora_A.weight [2, 32]",
                "model.layers.1.self_attn.v_proj.lora_B.weight [16, 2]",
                "model.norm.weight [32]",
            ],
            trainer.Parameters.Select(parameter => $"{parameter.Name} [{string.Join(", ", parameter.Parts[0].Shape)}]"));
        trainer.Step(Bench.Batch);
        PeftExporter.Write(trainer, _folder);
        Tolerance.AssertClose(trainer.Logits(Bench.Tokens), bench.Serve(_folder), 1e-5, "served logits");
    }

    [Theory]
    [InlineData("pissa", false)]
    [InlineData("olora", true)]
    public void A_start_inside_the_base_is_exported_as_twice_the_rank_with_its_patterns(string start, bool stabilised)
    {
        string config = $$"""
            {"peft_type": "LORA", "r": 3, "lora_alpha": 5, "init_lora_weights": "{{start}}", "use_rslora": {{(stabilised ? "true" : "false")}},
             "target_modules": ["q_proj", "down_proj"], "rank_pattern": {"down_proj": 5}, "alpha_pattern": {"q_proj": 7} }
            """;
        using Bench bench = new();
        using Trainer trainer = bench.Adapter(config);

        trainer.Step(Bench.Batch);
        PeftExporter.Write(trainer, _folder);

        AdapterWeights weights = new PeftImporter(bench.Model.Shape).Import(_folder, "start").Weights;
        Assert.Equal([6, 10], weights.Deltas.OfType<LowRankDelta>().Select(delta => delta.Rank).Distinct().Order());
        Tolerance.AssertClose(trainer.Logits(Bench.Tokens), bench.Serve(_folder), 2e-5, "served logits");
    }

    [Theory]
    [InlineData(Lora)]
    [InlineData(null)]
    public void One_thread_and_many_train_to_the_same_bits(string? config)
    {
        Assert.Equal(Train(1), Train(4));

        float[] Train(int threads)
        {
            using Bench bench = new(threads);
            using Trainer trainer = config is null ? bench.AllWeights() : bench.Adapter(config);
            for (int step = 0; step < 3; step++)
            {
                trainer.Step(Bench.Batch);
            }

            return [.. trainer.Parameters.SelectMany(parameter => bench.Read(parameter.Value))];
        }
    }

    [Theory]
    [InlineData("""{"peft_type": "LORA", "r": 4, "lora_dropout": 0.3, "target_modules": "all-linear"}""")]
    [InlineData("""{"peft_type": "LORA", "r": 4, "lora_dropout": 0.3, "init_lora_weights": "olora", "target_modules": ["q_proj"]}""")]
    [InlineData("""{"peft_type": "ADALORA", "init_r": 4, "target_r": 2, "total_step": 9, "lora_dropout": 0.3, "target_modules": ["q_proj"]}""")]
    [InlineData("""{"peft_type": "VERA", "r": 8, "vera_dropout": 0.3, "target_modules": ["q_proj"]}""")]
    public void Dropout_differs_from_step_to_step_is_repeated_by_its_seed_and_is_off_outside_training(string config)
    {
        using Bench bench = new();
        using Trainer first = bench.Adapter(config);
        using Trainer second = bench.Adapter(config);
        first.Step(Bench.Batch);
        second.Step(Bench.Batch);
        Assert.Equal(first.Logits(Bench.Tokens), second.Logits(Bench.Tokens));

        double once = first.ComputeGradients(Bench.Batch);
        double again = first.ComputeGradients(Bench.Batch);

        Assert.NotEqual(once, again);
        Assert.Equal(once, second.ComputeGradients(Bench.Batch));
        Assert.Equal(first.Evaluate(Bench.Batch), first.Evaluate(Bench.Batch));
    }

    [Fact]
    public void A_fully_trained_model_is_exported_as_a_folder_that_loads()
    {
        using Bench bench = new();
        using Trainer trainer = bench.AllWeights();
        trainer.Step(Bench.Batch);

        ModelExporter.Write(trainer, bench.Model, Bench.BaseFolder, _folder);

        using Bench exported = new(folder: _folder);
        Tolerance.AssertClose(trainer.Logits(Bench.Tokens), exported.Serve(null), 1e-5, "logits");
        using Trainer next = exported.AllWeights();
        Assert.Equal(trainer.Evaluate(Bench.Batch), next.Evaluate(Bench.Batch));
    }

    [Fact]
    public void Training_again_from_what_was_exported_goes_on_from_the_same_loss()
    {
        using Bench bench = new();
        using Trainer trainer = bench.Adapter(Lora);
        trainer.Step(Bench.Batch);
        PeftExporter.Write(trainer, _folder);

        using Trainer next = bench.Adapter(Lora, start: _folder);

        Assert.Equal(trainer.Evaluate(Bench.Batch), next.Evaluate(Bench.Batch));
    }

    [Fact]
    public void Training_sees_the_base_while_an_adapter_is_merged_for_serving()
    {
        using Bench bench = new();
        using Trainer alone = bench.Adapter(Lora);
        double expected = alone.ComputeGradients(Bench.Batch);
        alone.ApplyGradients();
        alone.Step(Bench.Batch);
        PeftExporter.Write(alone, _folder);
        using FoldedAdapter folded = bench.Model.Fold(new PeftImporter(bench.Model.Shape).Import(_folder, "hot").Weights);
        bench.Model.Install(folded);
        float[] merged = bench.Serve(null);

        // Its own backend, as beside a serving one.
        using CpuBackend other = new(new CpuOptions { ThreadCount = 2, Products = CpuProducts.Vectors });
        using ITrainingBackend operations = CpuTraining.Create(other);
        using Trainer trainer = Trainer.ForAdapter(bench.Model, other, operations, Bench.Recipe(Lora), Bench.Options);
        double loss = trainer.ComputeGradients(Bench.Batch);
        trainer.ApplyGradients();

        Assert.Equal(expected, loss);
        Assert.Equal(merged, bench.Serve(null));
        bench.Model.RemoveFolded();
    }

    [Fact]
    public void Full_fine_tuning_learns_and_leaves_the_base_as_it_is()
    {
        using Bench bench = new();
        float[] before = bench.Serve(null);
        using Trainer trainer = bench.AllWeights();

        TrainingStep first = trainer.Step(Bench.Batch);
        trainer.Step(Bench.Batch);

        Assert.True(trainer.Evaluate(Bench.Batch) < first.Loss);
        Assert.Equal(before, bench.Serve(null));
    }

    [Fact]
    public void Peak_memory_counts_values_gradients_moments_and_activations_and_stays_from_step_to_step()
    {
        using TrainingBench bench = new();
        using Trainer trainer = bench.AllWeights();
        long parameters = trainer.TrainedParameters.Sum(parameter => parameter.Count) * 4 * sizeof(float);

        trainer.Step(TrainingBench.Batch);
        long peak = trainer.PeakBytes;
        trainer.Step(TrainingBench.Batch);

        long logits = (long)TrainingBench.Batch.LabelCount * bench.Model.Config.VocabularySize * sizeof(float);
        Assert.True(peak > parameters + logits, $"{peak} bytes for {parameters} of parameters");
        Assert.Equal(peak, trainer.PeakBytes);
    }

    [Fact]
    public void A_bf16_base_trains_too()
    {
        using Bench bench = new(format: WeightFormat.BF16);
        using Trainer trainer = bench.Adapter(Lora);

        TrainingStep first = trainer.Step(Bench.Batch);
        for (int step = 0; step < 4; step++)
        {
            trainer.Step(Bench.Batch);
        }

        Assert.True(trainer.Evaluate(Bench.Batch) < first.Loss);
        PeftExporter.Write(trainer, _folder);
        Tolerance.AssertClose(trainer.Logits(Bench.Tokens), bench.Serve(_folder), 1e-5, "served logits");
    }

    [Fact]
    public void A_batch_has_the_gradients_of_its_sequences_weighted_by_their_labels()
    {
        using Bench bench = new();
        using Trainer trainer = bench.Adapter(Lora);
        trainer.Step(Bench.Batch);
        float[] Gradients(params SupervisedBatch[] batches)
        {
            trainer.ComputeGradients(batches);
            return [.. trainer.Parameters.SelectMany(parameter => bench.Read(parameter.Gradient))];
        }

        float[] together = Gradients(Bench.Batch);
        float[] apart = new float[together.Length];
        foreach (SupervisedSequence sequence in Bench.Batch.Sequences)
        {
            SupervisedBatch alone = new([sequence]);
            apart = [.. apart.Zip(Gradients(alone), (sum, g) => sum + (g * alone.LabelCount / Bench.Batch.LabelCount))];
        }

        Tolerance.AssertClose(together, apart, 1e-5, "gradients");
    }

    [Theory]
    [InlineData("""{"peft_type": "LORA", "lora_dropout": 0.1, "use_dora": true, "target_modules": ["q_proj"]}""", "lora_dropout")]
    [InlineData("""{"peft_type": "LORA", "bias": "all", "target_modules": ["q_proj"]}""", "bias")]
    [InlineData("""{"peft_type": "LORA", "init_lora_weights": "eva", "target_modules": ["q_proj"]}""", "init_lora_weights")]
    [InlineData("""{"peft_type": "LORA", "trainable_token_indices": [1], "target_modules": ["q_proj"]}""", "trainable_token_indices")]
    [InlineData("""{"peft_type": "ADALORA", "target_modules": ["q_proj"]}""", "total_step")]
    [InlineData("""{"peft_type": "ADALORA", "total_step": 5, "tinit": 3, "tfinal": 2, "target_modules": ["q_proj"]}""", "total_step")]
    [InlineData("""{"peft_type": "LORA", "r": "four", "target_modules": ["q_proj"]}""", "r")]
    [InlineData("""{"peft_type": "LORA", "target_modules": ["nothing"]}""", "target_modules")]
    [InlineData("""{"peft_type": "LOHA", "target_modules": ["q_proj"]}""", "peft_type")]
    public void What_training_cannot_do_is_refused_by_name(string config, string field)
    {
        using Bench bench = new();

        AdapterFormatException error = Assert.Throws<AdapterFormatException>(() => bench.Adapter(config).Dispose());

        Assert.Contains($"'{field}'", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_start_of_another_shape_is_refused()
    {
        using Bench bench = new();
        using Trainer trainer = bench.Adapter(Lora);
        PeftExporter.Write(trainer, _folder);

        AdapterFormatException error = Assert.Throws<AdapterFormatException>(
            () => bench.Adapter(Lora.Replace("\"r\": 4", "\"r\": 5", StringComparison.Ordinal), start: _folder).Dispose());

        Assert.Contains("lora_A", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_loss_that_is_no_number_stops_the_run_and_changes_nothing()
    {
        using Bench bench = new();
        using Trainer trainer = bench.Adapter(Lora);
        Parameter parameter = trainer.Parameters[1];
        bench.Backend.Write([float.NaN], parameter.ValueBuffer);
        float[] before = bench.Read(trainer.Parameters[0].Value);

        TrainingFailedException error = Assert.Throws<TrainingFailedException>(() => trainer.Step(Bench.Batch));

        Assert.Contains("step 1", error.Message, StringComparison.Ordinal);
        Assert.Equal(before, bench.Read(trainer.Parameters[0].Value));
    }

    [Fact]
    public void A_refused_batch_leaves_no_trace_in_the_next_step()
    {
        using Bench bench = new();
        using Trainer untouched = bench.Adapter(Lora);
        using Trainer trainer = bench.Adapter(Lora);
        SupervisedBatch unknownLabel = new([new SupervisedSequence([1, 2, 3], [1, 2, 96])]);
        SupervisedBatch unknownToken = new([new SupervisedSequence([1, 96, 3], [1, 2, 3])]);

        Assert.Contains("96", Assert.Throws<ArgumentException>(() => trainer.Step(unknownLabel)).Message, StringComparison.Ordinal);
        Assert.Contains("96", Assert.Throws<ArgumentException>(() => trainer.Step(unknownToken)).Message, StringComparison.Ordinal);

        Assert.Equal(untouched.Step(Bench.Batch).GradientNorm, trainer.Step(Bench.Batch).GradientNorm);
        Assert.Equal(untouched.Logits(Bench.Tokens), trainer.Logits(Bench.Tokens));
    }

    [Fact]
    public void Batches_that_make_no_sense_are_refused()
    {
        using Bench bench = new();
        using Trainer trainer = bench.Adapter(Lora);
        SupervisedSequence tooLong = new(new int[65], new int[65]);

        Assert.Contains(
            "65 tokens",
            Assert.Throws<ArgumentException>(() => trainer.Step(new SupervisedBatch([tooLong]))).Message,
            StringComparison.Ordinal);
        Assert.Throws<ArgumentException>(() => new SupervisedBatch([new SupervisedSequence([1, 2], [1])]));
        Assert.Throws<ArgumentException>(() => new SupervisedBatch([new SupervisedSequence([1, 2], [1, -100])]));
        Assert.Throws<ArgumentException>(() => SupervisedBatch.FromPadded(3, [0, 1, 2], [0, 1, 1], [1, 1, 1]));
    }

    [Fact]
    public void LoraFa_without_a_plain_lora_is_refused()
    {
        using Bench bench = new();
        TrainingOptions options = Bench.Options with { Optimizer = OptimizerKind.LoraFa };

        Assert.Throws<ArgumentException>(
            () => bench.Adapter("""{"peft_type": "LORA", "use_dora": true, "target_modules": ["q_proj"]}""", options: options).Dispose());
    }
}
