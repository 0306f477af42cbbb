using Microsoft.Extensions.Options;

namespace Grpc.AspNetCore.Server;

/// <summary>Tells the calls in flight to end once the host stops and the drain time is over.</summary>
internal sealed class GrpcShutdown : IDisposable
{
    private readonly CancellationTokenSource _stop = new();
    private readonly CancellationTokenRegistration _registration;
    private ITimer? _drain;

    public GrpcShutdown(IHostApplicationLifetime lifetime, IOptions<GrpcServiceOptions> options, TimeProvider time)
    {
        TimeSpan drain = options.Value.ShutdownDrain;

        // CancelAsync: what the calls do when they end is not done on the thread that stops the host.
        _registration = lifetime.ApplicationStopping.Register(() => _drain = time.CreateTimer(
            static stop => _ = ((CancellationTokenSource)stop!).CancelAsync(), _stop, drain, Timeout.InfiniteTimeSpan));
    }

    /// <summary>Cancelled when calls have to end.</summary>
    public CancellationToken Token => _stop.Token;

    public void Dispose()
    {
        _registration.Dispose();
        _drain?.Dispose();
    }
}
