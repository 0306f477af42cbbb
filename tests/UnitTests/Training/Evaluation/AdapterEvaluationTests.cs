using InferenceServer.AdapterStore.Import;
using InferenceServer.Cpu;
using InferenceServer.Cpu.Training;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Adapters;
using InferenceServer.Training;
using InferenceServer.Training.Evaluation;
using InferenceServer.Training.Export;
using InferenceServer.Training.Runs;
using InferenceServer.UnitTests.AdapterStore;
using Xunit;

namespace InferenceServer.UnitTests.Training.Evaluation;

/// <summary>The serving forward gives the loss that training sees.</summary>
[Trait("Category", "Training")]
public sealed class AdapterEvaluationTests
{
    private static readonly SupervisedSequence[] s_samples =
    [
        .. TrainingBench.Batch.Sequences,
        new SupervisedSequence([.. Enumerable.Range(10, 24)], [.. Enumerable.Range(10, 24).Select((token, i) => i % 5 == 4 ? token : -100)]),
        new SupervisedSequence([7], [7]),
    ];

    [Fact]
    public void The_loss_of_the_base_is_that_of_an_untrained_adapter()
    {
        using TrainingBench bench = new();
        using Trainer trainer = bench.Adapter("""{"peft_type": "LORA", "target_modules": ["q_proj"]}""");

        EvaluationResult result = Measure(bench, TrainingBench.Batch.Sequences, null);

        Assert.Equal(trainer.EvaluateTokens(TrainingBench.Batch), result.Loss);
        Assert.Equal(TrainingBench.Batch.LabelCount, result.LabelCount);
        Assert.Equal(Math.Exp(result.Loss), result.Perplexity);
    }

    [Theory]
    [InlineData("""{"peft_type": "LORA", "r": 4, "target_modules": "all-linear"}""")]
    [InlineData("""{"peft_type": "LORA", "r": 4, "target_modules": ["q_proj", "down_proj"], "use_dora": true}""")]
    [InlineData("""{"peft_type": "LORA", "r": 4, "target_modules": ["v_proj"], "modules_to_save": ["lm_head"]}""")]
    [InlineData("""{"peft_type": "VERA", "r": 8, "target_modules": ["q_proj", "o_proj"]}""")]
    [InlineData("""{"peft_type": "IA3", "target_modules": ["k_proj", "v_proj", "down_proj"], "feedforward_modules": ["down_proj"]}""")]
    public void The_loss_of_a_trained_adapter_is_what_its_trainer_measures(string config)
    {
        using TemporaryFolder folder = new();
        using TrainingBench bench = new();
        using Trainer trainer = bench.Adapter(config);
        double untrained = trainer.EvaluateTokens(TrainingBench.Batch);
        for (int step = 0; step < 5; step++)
        {
            trainer.Step(TrainingBench.Batch);
        }

        PeftExporter.Write(trainer, folder["trained"]);
        double expected = trainer.EvaluateTokens(TrainingBench.Batch);

        Assert.NotEqual(untrained, expected, 1e-3);
        Assert.Equal(expected, Measure(bench, TrainingBench.Batch.Sequences, folder["trained"]).Loss, 1e-5);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(7)]
    [InlineData(40)]
    public void Samples_in_parts_have_the_loss_of_whole_ones(int maxBatchTokens)
    {
        using TrainingBench bench = new();
        EvaluationResult whole = Measure(bench, s_samples, null);

        EvaluationResult parts = Measure(bench, s_samples, null, maxBatchTokens);

        Assert.Equal(whole.LabelCount, parts.LabelCount);
        Assert.Equal(whole.Loss, parts.Loss, 1e-12);
    }

    [Fact]
    public void Samples_that_cannot_be_judged_are_refused()
    {
        using TrainingBench bench = new();
        int context = bench.Model.MaxModelLength;
        int vocabulary = bench.Model.Config.VocabularySize;

        ArgumentException unlabelled = Assert.Throws<ArgumentException>(() => Measure(bench, [new SupervisedSequence([5, 6], [5, -100])], null));
        ArgumentException tooLong = Assert.Throws<ArgumentException>(
            () => Measure(bench, [new SupervisedSequence(new int[context + 1], new int[context + 1])], null));
        ArgumentException strange = Assert.Throws<ArgumentException>(
            () => Measure(bench, [new SupervisedSequence([5, vocabulary], [5, 6])], null));

        Assert.Equal("no token of the 1 samples is labelled", unlabelled.Message);
        Assert.Equal($"sample 0 of {context + 1} tokens exceeds the context of {context}", tooLong.Message);
        Assert.Equal($"token {vocabulary} of sample 0 is outside the model's vocabulary of {vocabulary}", strange.Message);
    }

    private static EvaluationResult Measure(
        TrainingBench bench, IReadOnlyList<SupervisedSequence> samples, string? folder, int maxBatchTokens = 256)
    {
        using CpuBackend backend = new(new CpuOptions { ThreadCount = 1, Products = CpuProducts.Vectors });
        using ITrainingBackend operations = CpuTraining.Create(backend);
        using AdapterEvaluation evaluation = new(bench.Model, backend, operations, maxBatchTokens);
        AdapterWeights? weights = folder is null ? null : new PeftImporter(bench.Model.Shape).Import(folder, "trained").Weights;
        using DeviceAdapter? adapter = weights is null ? null : backend.CreateAdapter(weights, WeightFormat.F32);
        return evaluation.Measure(samples, adapter);
    }
}
