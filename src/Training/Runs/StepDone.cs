namespace InferenceServer.Training.Runs;

/// <summary>A step was done.</summary>
/// <param name="Loss">Loss before it.</param>
/// <param name="GradientNorm">Length of the gradients before clipping.</param>
/// <param name="LearningRate">Rate of the first group.</param>
/// <param name="Epoch">Times that the set had been given out before the step.</param>
/// <param name="TokensPerSecond">Tokens of the step by its time; 0 where the clock did not move.</param>
/// <param name="TimeLeft">Of the steps to come, at this process's mean pace.</param>
public sealed record StepDone(
    double Loss, double GradientNorm, double LearningRate, int Epoch, double TokensPerSecond, TimeSpan TimeLeft) : TrainingEvent
{
    /// <summary>Tokens of the step.</summary>
    public int Tokens { get; init; }

    /// <summary>Time of the step.</summary>
    public double Seconds { get; init; }

    /// <summary>Most bytes that training has held by then, the base not among them.</summary>
    public long PeakBytes { get; init; }
}
