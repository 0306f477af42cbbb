using Grpc.Core;

namespace Grpc.AspNetCore.Server;

/// <summary>The token of one call on the server, and which of its three reasons cancelled it: client gone, deadline, shutdown.</summary>
internal sealed class CallCancellation : IDisposable
{
    private static readonly Status s_clientGone = new(StatusCode.Cancelled, "the call was cancelled");
    private static readonly Status s_deadline = new(StatusCode.DeadlineExceeded, "the deadline has passed");
    private static readonly Status s_shutdown = new(StatusCode.Unavailable, "the server is shutting down");

    // Holds no timer and no wait handle, so it needs no disposal; a late handler may still look at its token.
    private readonly CancellationTokenSource _source = new();
    private readonly CancellationTokenRegistration _clientGone;
    private readonly CancellationTokenRegistration _shutdown;
    private ITimer? _deadline;
    private object? _reason;

    public CallCancellation(CancellationToken requestAborted, CancellationToken shutdown)
    {
        _clientGone = requestAborted.UnsafeRegister(static call => ((CallCancellation)call!).Cancel(s_clientGone), this);
        _shutdown = shutdown.UnsafeRegister(static call => ((CallCancellation)call!).Cancel(s_shutdown), this);
    }

    public CancellationToken Token => _source.Token;

    /// <summary>The status of a call that was cancelled, by its first reason; null while it is not.</summary>
    public Status? Status => (Status?)Volatile.Read(ref _reason);

    public void CancelAfter(TimeSpan timeout, TimeProvider time) =>
        _deadline = time.CreateTimer(
            static call => ((CallCancellation)call!).Cancel(s_deadline), this, timeout, Timeout.InfiniteTimeSpan);

    /// <summary>The client was found gone before its connection said so.</summary>
    public void ClientGone() => Cancel(s_clientGone);

    public void Dispose()
    {
        _deadline?.Dispose();
        _clientGone.Unregister();
        _shutdown.Unregister();
    }

    private void Cancel(Status reason)
    {
        if (Interlocked.CompareExchange(ref _reason, reason, null) is null)
        {
            // Handlers may run code on cancellation, and may throw there: neither belongs on a timer's thread.
            _ = _source.CancelAsync();
        }
    }
}
