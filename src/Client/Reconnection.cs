using System.Diagnostics;
using Grpc.Core;

namespace InferenceServer.Client;

/// <summary>When and how often a cut stream is opened again: at once, then after pauses that double, until patience ends.</summary>
internal sealed class Reconnection(TimeSpan patience)
{
    private static readonly TimeSpan s_firstPause = TimeSpan.FromMilliseconds(250);
    private static readonly TimeSpan s_longestPause = TimeSpan.FromSeconds(5);

    private long? _cutAt;
    private TimeSpan _pause;

    /// <summary>
    /// Whether a call ended by its connection and not by an answer. A connection that breaks is UNAVAILABLE or, with an HTTP/2 error code,
    /// INTERNAL; a server that stops cancels its streams.
    /// </summary>
    public bool IsCut(RpcException error)
    {
        return patience > TimeSpan.Zero && error.StatusCode is StatusCode.Unavailable or StatusCode.Internal or StatusCode.Cancelled;
    }

    /// <summary>The stream gave something.</summary>
    public void Succeeded()
    {
        _cutAt = null;
    }

    /// <summary>Waits for the next attempt; false when patience is at its end.</summary>
    public async Task<bool> WaitAsync(CancellationToken cancellationToken)
    {
        if (_cutAt is not { } cutAt)
        {
            _cutAt = Stopwatch.GetTimestamp();
            _pause = s_firstPause;
            return true;
        }

        if (Stopwatch.GetElapsedTime(cutAt) >= patience)
        {
            return false;
        }

        await Task.Delay(_pause, cancellationToken).ConfigureAwait(false);
        _pause = _pause * 2 < s_longestPause ? _pause * 2 : s_longestPause;
        return true;
    }
}
