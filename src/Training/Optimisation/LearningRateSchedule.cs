namespace InferenceServer.Training.Optimisation;

/// <summary>Factor of the learning rate, as transformers' get_*_schedule_with_warmup.</summary>
public static class LearningRateSchedule
{
    /// <param name="kind">Shape.</param>
    /// <param name="step">Steps done before this one.</param>
    /// <param name="warmUpSteps">Steps over which it rises from 0.</param>
    /// <param name="totalSteps">Steps after which it is 0 (linear, cosine).</param>
    public static double Factor(ScheduleKind kind, int step, int warmUpSteps, int totalSteps)
    {
        if (step < warmUpSteps)
        {
            return (double)step / Math.Max(1, warmUpSteps);
        }

        int length = Math.Max(1, totalSteps - warmUpSteps);
        return kind switch
        {
            ScheduleKind.Linear => Math.Max(0, (double)(totalSteps - step) / length),
            ScheduleKind.Cosine => 0.5 * (1 + Math.Cos(Math.PI * Math.Min(1, (double)(step - warmUpSteps) / length))),
            _ => 1,
        };
    }
}
