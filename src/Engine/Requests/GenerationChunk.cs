namespace InferenceServer.Engine.Requests;

/// <summary>What the caller reads from a <c>GenerationStream</c>: one or more tokens and the text that they completed.</summary>
public sealed record GenerationChunk
{
    public required IReadOnlyList<int> TokenIds { get; init; }

    /// <summary>Text completed by these tokens; never part of a stop string or of an unfinished character.</summary>
    public string Text { get; init; } = "";

    /// <summary>One for each token when asked for, else empty.</summary>
    public IReadOnlyList<TokenLogprobs> Logprobs { get; init; } = [];

    /// <summary>Other than <see cref="FinishReason.None"/> in the last chunk only.</summary>
    public FinishReason FinishReason { get; init; }

    /// <summary>The stop string, or the text of the end token, in the last chunk.</summary>
    public string StopReason { get; init; } = "";

    /// <summary>In the last chunk only.</summary>
    public GenerationUsage? Usage { get; init; }
}
