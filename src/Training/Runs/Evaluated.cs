namespace InferenceServer.Training.Runs;

/// <summary>The held-out set was evaluated.</summary>
/// <param name="Loss">Mean loss of a labelled token.</param>
/// <param name="Perplexity">exp of it.</param>
/// <param name="IsBest">Whether it is the lowest so far.</param>
public sealed record Evaluated(double Loss, double Perplexity, bool IsBest) : TrainingEvent;
