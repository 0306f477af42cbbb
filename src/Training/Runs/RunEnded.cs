using System.Text.Json.Serialization;

namespace InferenceServer.Training.Runs;

/// <summary>The run ended.</summary>
/// <param name="Outcome">Why.</param>
public sealed record RunEnded([property: JsonConverter(typeof(JsonStringEnumConverter<RunOutcome>))] RunOutcome Outcome) : TrainingEvent;
