using InferenceServer.TestKit;
using Xunit;
using Xunit.Abstractions;

namespace InferenceServer.UnitTests.Training;

/// <summary>Every training case of the golden data against PEFT: losses, gradients, parameters, rank allocation, export.</summary>
[Trait("Category", "Golden")]
public sealed class GoldenTrainingTests(ITestOutputHelper output)
{
    [GoldenFact]
    [Trait("Category", "Training")]
    public void Every_case_has_the_losses_gradients_and_parameters_of_PEFT()
    {
        TrainingChecks checks = new(GoldenData.Root!, TrainingMachines.Cpu);

        GoldenCases.Run(output, "fixtures/training/*", checks.Cases, checks.Case);
    }
}
