using InferenceServer.Training;
using Xunit;

namespace InferenceServer.UnitTests.Training;

/// <summary>Computing a layer again on the way back must give what keeping its activations gives.</summary>
[Trait("Category", "Training")]
public sealed class GradientCheckpointingTests
{
    private static readonly TrainingOptions s_options = TrainingBench.Options with { MaxBatchTokens = 700 };

    /// <summary>More labelled tokens than logits exist at a time.</summary>
    private static readonly SupervisedBatch s_large = new(
        [.. Enumerable.Range(0, 20).Select(i => Enumerable.Range(i, 33).Select(token => token * 7 % 90).ToArray())
            .Select(tokens => new SupervisedSequence(tokens, tokens))]);

    [Theory]
    [InlineData("""{"peft_type": "LORA", "r": 4, "target_modules": "all-linear", "lora_dropout": 0.3}""")]
    [InlineData("""{"peft_type": "LORA", "r": 4, "target_modules": "all-linear", "use_dora": true}""")]
    [InlineData("""{"peft_type": "LORA", "r": 2, "target_modules": ["q_proj", "embed_tokens", "lm_head"], "lora_dropout": 0.1}""")]
    [InlineData("""{"peft_type": "IA3", "target_modules": ["k_proj", "v_proj", "down_proj", "up_proj"], "feedforward_modules": ["down_proj", "up_proj"]}""")]
    [InlineData("""{"peft_type": "VERA", "r": 6, "target_modules": "all-linear", "vera_dropout": 0.2}""")]
    [InlineData("""{"peft_type": "LORA", "r": 2, "target_modules": ["v_proj"], "modules_to_save": ["lm_head", "norm"]}""")]
    [InlineData(null)]
    public void Gradients_have_the_same_bits_as_without_and_less_is_kept(string? config)
    {
        using TrainingBench bench = new();
        using Trainer keeping = Create(bench, config, s_options);
        using Trainer repeating = Create(bench, config, s_options with { GradientCheckpointing = true });

        // The second step starts from parameters that the first gradients have moved.
        TrainingStep first = keeping.Step(TrainingBench.Batch, s_large);
        TrainingStep repeated = repeating.Step(TrainingBench.Batch, s_large);
        double loss = keeping.ComputeGradients(s_large);
        double repeatedLoss = repeating.ComputeGradients(s_large);

        Assert.Equal((first.Loss, first.GradientNorm), (repeated.Loss, repeated.GradientNorm));
        Assert.Equal(loss, repeatedLoss);
        Assert.All(
            keeping.TrainedParameters.Zip(repeating.TrainedParameters),
            pair => Assert.Equal(bench.Read(pair.First.Gradient), bench.Read(pair.Second.Gradient)));
        Assert.True(
            repeating.PeakBytes < keeping.PeakBytes, $"{repeating.PeakBytes} bytes with checkpointing, {keeping.PeakBytes} without");
    }

    [Fact]
    public void Logits_in_parts_give_the_loss_and_gradients_of_the_sequences_one_by_one()
    {
        using TrainingBench bench = new();
        using Trainer trainer = Create(bench, null, s_options);
        SupervisedBatch[] parts = [.. s_large.Sequences.Select(sequence => new SupervisedBatch([sequence]))];

        double loss = trainer.ComputeGradients(s_large);
        float[][] gradients = [.. trainer.TrainedParameters.Select(parameter => bench.Read(parameter.Gradient))];
        double mean = trainer.ComputeGradients(parts);

        Assert.True(s_large.LabelCount > 512, "two parts and a rest");
        Assert.Equal(mean, loss, 1e-5);
        Assert.Equal(trainer.EvaluateTokens(s_large), loss, 1e-9);
        Assert.All(
            trainer.TrainedParameters.Zip(gradients),
            pair => Assert.All(
                bench.Read(pair.First.Gradient).Zip(pair.Second), values => Assert.Equal(values.First, values.Second, 1e-4f)));
    }

    private static Trainer Create(TrainingBench bench, string? config, TrainingOptions options) => config is null
        ? Trainer.ForAllWeights(bench.Model, bench.Backend, bench.Operations, options)
        : bench.Adapter(config, options: options);
}
