using System.Text.Json.Serialization;
using InferenceServer.Training.Jobs;

namespace InferenceServer.Training.Runs;

/// <summary>Something that happened in a run, or in the job around it: one line of its log.</summary>
[JsonPolymorphic(TypeDiscriminatorPropertyName = "event")]
[JsonDerivedType(typeof(StepDone), "step")]
[JsonDerivedType(typeof(Evaluated), "evaluation")]
[JsonDerivedType(typeof(CheckpointSaved), "checkpoint")]
[JsonDerivedType(typeof(RunStarted), "start")]
[JsonDerivedType(typeof(RunEnded), "end")]
[JsonDerivedType(typeof(RunFailed), "failure")]
[JsonDerivedType(typeof(JobStateChanged), "state")]
[JsonDerivedType(typeof(ExactMatchMeasured), "exact_match")]
[JsonDerivedType(typeof(AdapterPublished), "published")]
public abstract record TrainingEvent
{
    /// <summary>When.</summary>
    public required DateTimeOffset Time { get; init; }

    /// <summary>Steps done by then.</summary>
    public required int Step { get; init; }
}
