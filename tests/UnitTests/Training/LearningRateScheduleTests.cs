using InferenceServer.Training.Optimisation;
using Xunit;

namespace InferenceServer.UnitTests.Training;

/// <summary>The factors of transformers' schedules.</summary>
[Trait("Category", "Training")]
public sealed class LearningRateScheduleTests
{
    [Theory]
    [InlineData(ScheduleKind.Constant, new[] { 0, 0.5, 1, 1, 1, 1, 1, 1 })]
    [InlineData(ScheduleKind.Linear, new[] { 0, 0.5, 1, 0.75, 0.5, 0.25, 0, 0 })]
    [InlineData(ScheduleKind.Cosine, new[] { 0, 0.5, 1, 0.853553390593, 0.5, 0.146446609407, 0, 0 })]
    public void The_rate_rises_over_the_warm_up_and_falls_by_its_kind(ScheduleKind kind, double[] expected)
    {
        for (int step = 0; step < expected.Length; step++)
        {
            Assert.Equal(expected[step], LearningRateSchedule.Factor(kind, step, warmUpSteps: 2, totalSteps: 6), 1e-9);
        }
    }

    [Fact]
    public void Without_a_warm_up_the_first_step_has_the_full_rate() =>
        Assert.Equal(1, LearningRateSchedule.Factor(ScheduleKind.Linear, 0, warmUpSteps: 0, totalSteps: 5));
}
