namespace InferenceServer.Engine.Requests;

/// <summary>When a generation ends.</summary>
public sealed record StoppingCriteria
{
    /// <summary>Most new tokens; bounded by the model's context; default 256.</summary>
    public int? MaxTokens { get; init; }

    /// <summary>Strings that end the text; they are not part of it.</summary>
    public IReadOnlyList<string> Stop { get; init; } = [];

    /// <summary>Tokens that end the generation, beside the model's own end tokens.</summary>
    public IReadOnlyList<int> StopTokenIds { get; init; } = [];

    /// <summary>Go on past the model's own end tokens.</summary>
    public bool IgnoreEos { get; init; }

    /// <summary>No end token or stop string before so many new tokens; default 0.</summary>
    public int MinTokens { get; init; }
}
