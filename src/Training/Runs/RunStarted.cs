namespace InferenceServer.Training.Runs;

/// <summary>A run began, or went on from the checkpoint of <see cref="TrainingEvent.Step"/>.</summary>
/// <param name="TotalSteps">Steps of the whole run.</param>
/// <param name="SampleCount">Samples to learn.</param>
/// <param name="HeldOutCount">Samples to judge by.</param>
/// <param name="DamagedCheckpoints">Checkpoints that were passed over.</param>
public sealed record RunStarted(
    int TotalSteps, int SampleCount, int HeldOutCount, IReadOnlyList<string> DamagedCheckpoints) : TrainingEvent
{
    /// <summary>Numbers that training changes.</summary>
    public long TrainableParameters { get; init; }
}
