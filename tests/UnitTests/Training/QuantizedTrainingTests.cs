using InferenceServer.Tensors;
using InferenceServer.TestKit.Golden;
using InferenceServer.Training;
using InferenceServer.Training.Export;
using Xunit;
using Bench = InferenceServer.UnitTests.Training.TrainingBench;

namespace InferenceServer.UnitTests.Training;

/// <summary>QLoRA: f32 adapters trained over a quantised base, which is the base of its unpacked weights and nothing else.</summary>
[Trait("Category", "Training")]
public sealed class QuantizedTrainingTests : IDisposable
{
    private const string Lora =
        """{"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": "all-linear"}""";

    private readonly string _folder = Directory.CreateTempSubdirectory("quantized-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Theory]
    [InlineData(WeightFormat.NF4, Lora)]
    [InlineData(WeightFormat.Int8, Lora)]
    [InlineData(WeightFormat.NF4, """{"peft_type": "LORA", "r": 4, "use_dora": true, "target_modules": ["q_proj", "down_proj"]}""")]
    [InlineData(WeightFormat.NF4, """{"peft_type": "LORA", "r": 4, "init_lora_weights": "pissa", "target_modules": ["v_proj", "up_proj"]}""")]
    [InlineData(WeightFormat.NF4, """{"peft_type": "LORA", "r": 4, "init_lora_weights": "olora", "target_modules": ["o_proj"]}""")]
    [InlineData(WeightFormat.NF4, """{"peft_type": "VERA", "r": 8, "target_modules": ["q_proj", "down_proj"]}""")]
    [InlineData(WeightFormat.NF4, """{"peft_type": "IA3", "target_modules": ["k_proj", "v_proj", "down_proj"], "feedforward_modules": ["down_proj"]}""")]
    public void Gradients_steps_and_served_logits_are_those_over_the_unpacked_weights(WeightFormat format, string config)
    {
        using Bench quantized = new(format: format);
        string unpackedFolder = Path.Combine(_folder, "unpacked");
        UnpackedBase.Write(quantized.Model, Bench.BaseFolder, unpackedFolder);
        using Bench unpacked = new(folder: unpackedFolder);
        using Bench whole = new();
        Assert.NotEqual(whole.Serve(null), quantized.Serve(null));
        Assert.Equal(unpacked.Serve(null), quantized.Serve(null));
        using Trainer trainer = quantized.Adapter(config);
        using Trainer reference = unpacked.Adapter(config);

        for (int step = 0; step < 3; step++)
        {
            Assert.Equal(reference.ComputeGradients(Bench.Batch), trainer.ComputeGradients(Bench.Batch));
            Assert.Equal(Gradients(unpacked, reference), Gradients(quantized, trainer));
            reference.ApplyGradients();
            trainer.ApplyGradients();
        }

        string adapter = Path.Combine(_folder, "adapter");
        PeftExporter.Write(trainer, adapter);
        Assert.Equal(unpacked.Serve(adapter), quantized.Serve(adapter));
        Tolerance.AssertClose(trainer.Logits(Bench.Tokens), quantized.Serve(adapter), 1e-5, "served logits");
    }

    [Fact]
    public void An_adapter_over_nf4_learns_and_the_base_stays_as_it_was()
    {
        using Bench bench = new(format: WeightFormat.NF4);
        float[] untrained = bench.Serve(null);
        using Trainer trainer = bench.Adapter(Lora);

        TrainingStep first = trainer.Step(Bench.Batch);
        for (int step = 0; step < 6; step++)
        {
            trainer.Step(Bench.Batch);
        }

        Assert.True(trainer.Evaluate(Bench.Batch) < 0.9 * first.Loss);
        Assert.Equal(untrained, bench.Serve(null));
    }

    [Fact]
    public void All_weights_of_a_quantised_base_are_refused_by_name()
    {
        using Bench bench = new(format: WeightFormat.NF4);

        ArgumentException error = Assert.Throws<ArgumentException>(() => bench.AllWeights().Dispose());

        Assert.Contains("NF4", error.Message, StringComparison.Ordinal);
    }

    private static float[] Gradients(Bench bench, Trainer trainer) =>
        [.. trainer.Parameters.Where(parameter => parameter.IsTrained).SelectMany(parameter => bench.Read(parameter.Gradient))];
}
