namespace InferenceServer.Engine.Requests;

/// <summary>Log-probability of a token, over the distribution before temperature and filters.</summary>
public readonly record struct TokenLogprob(int TokenId, float Logprob);

/// <summary>Log-probabilities at one place of the output.</summary>
/// <param name="Chosen">The chosen token.</param>
/// <param name="Top">The best ones, best first.</param>
public sealed record TokenLogprobs(TokenLogprob Chosen, IReadOnlyList<TokenLogprob> Top);
