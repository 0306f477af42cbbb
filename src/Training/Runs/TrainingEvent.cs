using System.Text.Json.Serialization;

namespace InferenceServer.Training.Runs;

/// <summary>Something that happened in a run: one line of its log.</summary>
[JsonPolymorphic(TypeDiscriminatorPropertyName = "event")]
[JsonDerivedType(typeof(StepDone), "step")]
[JsonDerivedType(typeof(Evaluated), "evaluation")]
[JsonDerivedType(typeof(CheckpointSaved), "checkpoint")]
[JsonDerivedType(typeof(RunStarted), "start")]
[JsonDerivedType(typeof(RunEnded), "end")]
[JsonDerivedType(typeof(RunFailed), "failure")]
public abstract record TrainingEvent
{
    /// <summary>When.</summary>
    public required DateTimeOffset Time { get; init; }

    /// <summary>Steps done by then.</summary>
    public required int Step { get; init; }
}
