using InferenceServer.Engine.Sampling;

namespace InferenceServer.Engine.Streaming;

/// <summary>A request after every check: tokens in place of text, every default made explicit.</summary>
internal sealed record PreparedRequest
{
    public required string RequestId { get; init; }

    public required int[] PromptTokens { get; init; }

    public required SamplingSettings Sampling { get; init; }

    public required int MaxNewTokens { get; init; }

    public required int MinNewTokens { get; init; }

    public required int[] EndTokens { get; init; }

    public required IReadOnlyList<string> Stop { get; init; }

    /// <summary>Best tokens whose log-probabilities are wanted; null for no log-probabilities.</summary>
    public required int? Logprobs { get; init; }

    public required bool KeepSpecialTokens { get; init; }

    public required bool OmitText { get; init; }

    public required DateTimeOffset? Deadline { get; init; }
}
