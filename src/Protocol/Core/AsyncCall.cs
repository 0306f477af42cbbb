namespace Grpc.Core;

/// <summary>What every kind of call gives its caller: headers, status, trailers, and its end.</summary>
public abstract class AsyncCall(
    Task<Metadata> responseHeadersAsync, Func<Status> getStatus, Func<Metadata> getTrailers, Action dispose) : IDisposable
{
    public Task<Metadata> ResponseHeadersAsync { get; } = responseHeadersAsync;

    /// <exception cref="InvalidOperationException">The call has not ended.</exception>
    public Status GetStatus() => getStatus();

    /// <exception cref="InvalidOperationException">The call has not ended.</exception>
    public Metadata GetTrailers() => getTrailers();

    /// <summary>Cancels the call unless it has ended.</summary>
    public void Dispose()
    {
        dispose();
        GC.SuppressFinalize(this);
    }
}
