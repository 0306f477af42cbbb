using InferenceServer.Cuda;
using InferenceServer.Tensors;
using InferenceServer.TestKit;
using InferenceServer.TestKit.Cuda;
using InferenceServer.Training.Checkpoints;
using InferenceServer.Training.Optimisation;
using Xunit;
using Xunit.Abstractions;

namespace InferenceServer.UnitTests.Training;

/// <summary>Whole training runs on the CUDA backend, by the stand-in.</summary>
[Collection(StandInCollection.Name)]
[Trait("Category", "Training")]
public sealed class CudaTrainingTests(ITestOutputHelper output) : IDisposable
{
    private const string Lora =
        """{"peft_type": "LORA", "r": 4, "lora_alpha": 8, "lora_dropout": 0.2, "target_modules": ["q_proj", "v_proj", "down_proj"]}""";

    private readonly string _folder = Directory.CreateTempSubdirectory("cuda-training-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [StandInFact]
    public void Cases_have_the_losses_gradients_and_parameters_of_PEFT()
    {
        TrainingChecks checks = new(
            Path.Combine(AppContext.BaseDirectory, "Data", "golden"), () => TrainingMachines.Cuda(CudaProducts.Exact));

        GoldenCases.Run(output, "Data/golden/fixtures/training/*", checks.Cases, checks.Case);
    }

    [StandInFact]
    public void All_weights_are_trained_as_the_processor_does()
    {
        using RunBench processor = new(null);
        using RunBench device = new(null, create: () => TrainingMachines.Cuda(CudaProducts.Exact));

        double[] expected = processor.Train(2);
        double[] losses = device.Train(2);

        Assert.All(expected.Zip(losses), pair => Assert.Equal(pair.First, pair.Second, 1e-5));
    }

    [StandInTheory]
    [InlineData(WeightFormat.BF16)]
    [InlineData(WeightFormat.NF4)]
    public void A_base_of_few_bits_is_trained_as_the_processor_does_within_what_rounding_does(WeightFormat weights)
    {
        using RunBench processor = new(Lora, weights: weights);
        using RunBench device = new(Lora, create: () => TrainingMachines.Cuda(CudaProducts.Auto, WeightFormat.BF16), weights: weights);

        double[] expected = processor.Train(2);
        double[] losses = device.Train(2);

        // Inputs, weights of 4 bits, keys and values are rounded to 8 bits, 2^-9 each and most of it levelled out: a thousandth.
        Assert.All(expected.Zip(losses), pair => Assert.Equal(1, pair.Second / pair.First, 1e-3));
    }

    [StandInFact]
    public void A_step_resumed_for_one_more_is_two_steps_in_every_bit()
    {
        CheckpointStore store = new(_folder, keepLast: 1);
        using RunBench whole = Bench();
        double[] losses = whole.Train(2);

        using RunBench first = Bench();
        double[] before = first.Train(1);
        store.Save(first.Trainer, new RunProgress { Position = first.Source.Position });
        using RunBench second = Bench();
        second.Source.Position = store.RestoreLatest(second.Trainer)!.Position;
        double[] after = second.Train(1);

        Assert.Equal(losses, before.Concat(after));
        Assert.Equal(whole.Bits(), second.Bits());
        Assert.NotEqual(first.Bits(), second.Bits());

        static RunBench Bench() => new(Lora, OptimizerKind.AdamW, create: () => TrainingMachines.Cuda(CudaProducts.Auto));
    }

    [StandInFact]
    public void A_step_brings_back_its_losses_and_its_gradient_s_length_only_and_takes_no_memory()
    {
        using RunBench bench = new(Lora, create: () => TrainingMachines.Cuda(CudaProducts.Auto));
        bench.Train(2);
        StandIn.ResetCounters();

        bench.Train(1);

        StandInCounters counters = StandIn.Counters;
        Assert.Equal(3, counters.CopiesDown);
        Assert.Equal(0, counters.Allocations);
    }
}
