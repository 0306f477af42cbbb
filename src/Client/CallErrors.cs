using System.Globalization;
using Grpc.Core;

namespace InferenceServer.Client;

/// <summary>The one place where a failed call becomes an exception of this library.</summary>
internal static class CallErrors
{
    private const string RetryAfterTrailer = "retry-after-ms";

    /// <summary>
    /// What to throw for <paramref name="error"/>: a cancellation when the caller asked for it, else the server's status.
    /// </summary>
    public static Exception Translate(RpcException error, CancellationToken cancellationToken)
    {
        if (cancellationToken.IsCancellationRequested)
        {
            return new OperationCanceledException(error.Status.Detail, error, cancellationToken);
        }

        string detail = error.Status.Detail.Length > 0 ? error.Status.Detail : $"the server answered {error.StatusCode}";
        return new InferenceException(error.StatusCode, detail, RetryAfter(error.Trailers), error);
    }

    private static TimeSpan? RetryAfter(Metadata trailers)
    {
        foreach (Metadata.Entry entry in trailers)
        {
            if (!entry.IsBinary && string.Equals(entry.Key, RetryAfterTrailer, StringComparison.OrdinalIgnoreCase)
                && long.TryParse(entry.Value, NumberStyles.None, CultureInfo.InvariantCulture, out long milliseconds))
            {
                return TimeSpan.FromMilliseconds(milliseconds);
            }
        }

        return null;
    }
}
