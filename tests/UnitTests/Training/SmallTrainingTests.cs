using InferenceServer.TestKit;
using Xunit;
using Xunit.Abstractions;

namespace InferenceServer.UnitTests.Training;

/// <summary>The few training cases that are kept in the repository, so that every machine compares with PEFT.</summary>
[Trait("Category", "Training")]
public sealed class SmallTrainingTests(ITestOutputHelper output)
{
    [Fact]
    public void Cases_have_the_losses_gradients_and_parameters_of_PEFT()
    {
        TrainingChecks checks = new(Path.Combine(AppContext.BaseDirectory, "Data", "golden"), TrainingMachines.Cpu);

        GoldenCases.Run(output, "Data/golden/fixtures/training/*", checks.Cases, checks.Case);
    }
}
