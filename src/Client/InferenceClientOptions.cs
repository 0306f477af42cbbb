namespace InferenceServer.Client;

/// <summary>How an <see cref="InferenceClient"/> reaches its server.</summary>
public sealed record InferenceClientOptions
{
    /// <summary>Where the server listens for gRPC when nothing else is said.</summary>
    public const string DefaultAddress = "http://127.0.0.1:5100";

    /// <summary>http:// for HTTP/2 without TLS, https:// with it.</summary>
    public Uri Address { get; init; } = new(DefaultAddress);

    /// <summary>
    /// Deadline of a call that administers (info, list, load, merge, ...); default 5 minutes, because a load or a merge of a large model
    /// takes its time. Uploads and generations have none but what their own settings say.
    /// </summary>
    public TimeSpan Timeout { get; init; } = TimeSpan.FromMinutes(5);

    /// <summary>
    /// How long <see cref="TrainingClient.WatchAsync"/> tries to reach a server that it lost; default 2 minutes, enough for a restart with
    /// a large model. Zero ends a watch with its connection.
    /// </summary>
    public TimeSpan WatchPatience { get; init; } = TimeSpan.FromMinutes(2);

    /// <summary>The handler under the connection, for tests or own certificates; not disposed with the client.</summary>
    public HttpMessageHandler? HttpHandler { get; init; }

    /// <summary>Largest message taken from the server, in bytes; default 64 MiB, enough for a long list of adapters.</summary>
    public int MaxReceiveMessageBytes { get; init; } = 64 * 1024 * 1024;
}
