namespace InferenceServer.Engine.Requests;

/// <summary>What a finished generation used.</summary>
/// <param name="PromptTokens">Tokens of the prompt.</param>
/// <param name="CompletionTokens">New tokens.</param>
/// <param name="CachedTokens">Prompt tokens whose keys and values were reused.</param>
/// <param name="QueueTime">Arrival to the first step that ran it.</param>
/// <param name="TimeToFirstToken">Arrival to its first token.</param>
/// <param name="TotalTime">Arrival to the end.</param>
public sealed record GenerationUsage(
    int PromptTokens,
    int CompletionTokens,
    int CachedTokens,
    TimeSpan QueueTime,
    TimeSpan TimeToFirstToken,
    TimeSpan TotalTime);
