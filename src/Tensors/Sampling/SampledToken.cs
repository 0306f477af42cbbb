namespace InferenceServer.Tensors.Sampling;

/// <summary>What was drawn from one row of logits.</summary>
/// <param name="Token">The token; -1 where there is none.</param>
/// <param name="Status">Whether there is one.</param>
/// <param name="Logprob">Log-probability of the token over the logits as they came, where the row asks for it; else 0.</param>
public readonly record struct SampledToken(int Token, SampleStatus Status, float Logprob);
