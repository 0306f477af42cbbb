namespace InferenceServer.Engine.Requests;

/// <summary>One generation, immutable, checked once by <c>InferenceEngine.SubmitAsync</c>.</summary>
public sealed record GenerationRequest
{
    /// <summary>For logs; the engine makes one up when empty.</summary>
    public string RequestId { get; init; } = "";

    public required Prompt Prompt { get; init; }

    /// <summary>The adapters to apply, in order; empty for the base model.</summary>
    public IReadOnlyList<AdapterReference> Adapters { get; init; } = [];

    public SamplingParameters Sampling { get; init; } = new();

    public StoppingCriteria Stopping { get; init; } = new();

    public OutputOptions Output { get; init; } = new();

    /// <summary>When the request expires, in the queue or while running; null for never.</summary>
    public DateTimeOffset? Deadline { get; init; }
}
