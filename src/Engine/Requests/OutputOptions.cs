namespace InferenceServer.Engine.Requests;

/// <summary>What a request wants back beside the token ids.</summary>
/// <param name="Logprobs">Number of best tokens whose log-probabilities are given beside the chosen one's; null for none.</param>
/// <param name="KeepSpecialTokens">Whether special tokens stay in the text.</param>
/// <param name="OmitText">Leave out the text.</param>
public sealed record OutputOptions(int? Logprobs = null, bool KeepSpecialTokens = false, bool OmitText = false);
