using Grpc.Core;

namespace InferenceServer.Client;

/// <summary>The server refused or failed a call, or could not be reached.</summary>
public sealed class InferenceException : Exception
{
    internal InferenceException(StatusCode status, string message, TimeSpan? retryAfter, Exception inner)
        : base(message, inner)
    {
        Status = status;
        RetryAfter = retryAfter;
    }

    /// <summary>
    /// The gRPC status: <see cref="StatusCode.InvalidArgument"/> (the message names the field), <see cref="StatusCode.NotFound"/>,
    /// <see cref="StatusCode.ResourceExhausted"/> (see <see cref="RetryAfter"/>), <see cref="StatusCode.Unavailable"/>, ...
    /// </summary>
    public StatusCode Status { get; }

    /// <summary>When the server asks to be tried again; null when it does not say.</summary>
    public TimeSpan? RetryAfter { get; }
}
