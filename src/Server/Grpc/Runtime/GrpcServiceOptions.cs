namespace Grpc.AspNetCore.Server;

/// <summary>How the server serves gRPC calls.</summary>
public class GrpcServiceOptions
{
    /// <summary>The most bytes of a request message, before and after decompression (default 4 MiB); null for no limit.</summary>
    public int? MaxReceiveMessageSize { get; set; } = 4 * 1024 * 1024;

    /// <summary>The most bytes of a response message before compression; null, the default, for no limit.</summary>
    public int? MaxSendMessageSize { get; set; }

    /// <summary>
    /// Whether the client is told the message of an exception that is no <c>RpcException</c>; not by default, it may hold secrets.
    /// </summary>
    public bool? EnableDetailedErrors { get; set; }

    /// <summary><c>gzip</c> compresses responses to the clients that accept it; null, the default, compresses nothing.</summary>
    public string? ResponseCompressionAlgorithm { get; set; }

    /// <summary>
    /// How long calls in flight may go on after the host has been told to stop, before they end with UNAVAILABLE (default zero). Keep it
    /// below the host's shutdown timeout, after which connections are cut. Ours; the packages of this namespace do not have it.
    /// </summary>
    public TimeSpan ShutdownDrain { get; set; }
}
