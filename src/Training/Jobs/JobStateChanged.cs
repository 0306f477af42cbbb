using System.Text.Json.Serialization;
using InferenceServer.Training.Runs;

namespace InferenceServer.Training.Jobs;

/// <summary>A job came into another state.</summary>
/// <param name="State">The state.</param>
public sealed record JobStateChanged([property: JsonConverter(typeof(JsonStringEnumConverter<JobState>))] JobState State) : TrainingEvent;
