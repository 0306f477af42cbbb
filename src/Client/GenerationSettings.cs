using InferenceServer.Protocol.V1;

namespace InferenceServer.Client;

/// <summary>How text is generated; what is not set takes the server's default.</summary>
public sealed record GenerationSettings
{
    /// <summary>"name" or "name@digest"; empty for the base model.</summary>
    public string Adapter { get; init; } = "";

    /// <summary>Several adapters at once, their weighted changes added; instead of <see cref="Adapter"/>.</summary>
    public IReadOnlyList<WeightedAdapter> Adapters { get; init; } = [];

    public SamplingParameters? Sampling { get; init; }

    public StoppingCriteria? Stopping { get; init; }

    public OutputOptions? Output { get; init; }

    /// <summary>Echoed in the server's log; made up there when empty.</summary>
    public string RequestId { get; init; } = "";

    /// <summary>The request's deadline, counted from the call; null for none.</summary>
    public TimeSpan? Timeout { get; init; }

    internal GenerateRequest ToRequest()
    {
        GenerateRequest request = new()
        {
            RequestId = RequestId,
            Adapter = Adapter,
            Sampling = Sampling,
            Stopping = Stopping,
            Output = Output,
        };
        request.Adapters.Add(Adapters);
        return request;
    }
}
