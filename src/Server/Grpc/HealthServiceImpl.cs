using System.Threading.Channels;
using Grpc.Core;
using Grpc.Health.V1;
using ServingStatus = Grpc.Health.V1.HealthCheckResponse.Types.ServingStatus;

namespace InferenceServer.Server.Grpc;

/// <summary>grpc.health.v1.Health. Register it as a singleton: the rest of the server sets its statuses.</summary>
public sealed class HealthServiceImpl : Health.HealthBase
{
    private readonly Lock _gate = new();

    // Guarded by _gate.
    private readonly Dictionary<string, ServingStatus> _statuses = new(StringComparer.Ordinal) { [""] = ServingStatus.Serving };
    private readonly List<Watcher> _watchers = [];
    private bool _stopped;

    /// <summary>Says how a service is; the empty name is the server as a whole. Ignored after <see cref="Shutdown"/>.</summary>
    public void SetStatus(string service, ServingStatus status)
    {
        lock (_gate)
        {
            if (!_stopped)
            {
                _statuses[service] = status;
                Notify(service, status);
            }
        }
    }

    /// <summary>Forgets a service: Check answers NOT_FOUND, watchers see SERVICE_UNKNOWN.</summary>
    public void ClearStatus(string service)
    {
        lock (_gate)
        {
            if (_statuses.Remove(service))
            {
                Notify(service, ServingStatus.ServiceUnknown);
            }
        }
    }

    /// <summary>Says NOT_SERVING for every service, for good: the server is about to stop and clients should go elsewhere.</summary>
    public void Shutdown()
    {
        lock (_gate)
        {
            _stopped = true;
            foreach (string service in _statuses.Keys.ToArray())
            {
                _statuses[service] = ServingStatus.NotServing;
                Notify(service, ServingStatus.NotServing);
            }
        }
    }

    public override Task<HealthCheckResponse> Check(HealthCheckRequest request, ServerCallContext context)
    {
        lock (_gate)
        {
            return _statuses.TryGetValue(request.Service, out ServingStatus status)
                ? Task.FromResult(new HealthCheckResponse { Status = status })
                : throw new RpcException(new Status(StatusCode.NotFound, $"there is no service '{request.Service}'"));
        }
    }

    public override async Task Watch(
        HealthCheckRequest request, IServerStreamWriter<HealthCheckResponse> responseStream, ServerCallContext context)
    {
        // Only the newest status matters to a watcher that reads slowly.
        Watcher watcher = new(request.Service, Channel.CreateBounded<ServingStatus>(
            new BoundedChannelOptions(1) { FullMode = BoundedChannelFullMode.DropOldest }));
        lock (_gate)
        {
            watcher.Changes.Writer.TryWrite(_statuses.GetValueOrDefault(request.Service, ServingStatus.ServiceUnknown));
            _watchers.Add(watcher);
        }

        try
        {
            ServingStatus? sent = null;
            await foreach (ServingStatus status in watcher.Changes.Reader.ReadAllAsync(context.CancellationToken))
            {
                if (status != sent)
                {
                    await responseStream.WriteAsync(new HealthCheckResponse { Status = status }, context.CancellationToken);
                    sent = status;
                }
            }
        }
        finally
        {
            lock (_gate)
            {
                _watchers.Remove(watcher);
            }
        }
    }

    private void Notify(string service, ServingStatus status)
    {
        foreach (Watcher watcher in _watchers)
        {
            if (watcher.Service == service)
            {
                watcher.Changes.Writer.TryWrite(status);
            }
        }
    }

    private sealed record Watcher(string Service, Channel<ServingStatus> Changes);
}
