using InferenceServer.Protocol.V1;

namespace InferenceServer.Client;

/// <summary>A whole generation.</summary>
public sealed record GenerationResult
{
    /// <summary>The generated text, without the prompt.</summary>
    public required string Text { get; init; }

    public required IReadOnlyList<int> TokenIds { get; init; }

    /// <summary>One for each token when asked for, else empty.</summary>
    public required IReadOnlyList<TokenLogprobs> Logprobs { get; init; }

    /// <summary>Request id, adapter versions (name@digest), prompt length and seed in use.</summary>
    public required GenerationStarted Started { get; init; }

    public required FinishReason FinishReason { get; init; }

    /// <summary>The stop string or token text that ended the generation; empty when it ended otherwise.</summary>
    public required string StopReason { get; init; }

    public required Usage Usage { get; init; }
}
