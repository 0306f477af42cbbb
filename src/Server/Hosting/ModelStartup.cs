using System.Diagnostics;
using InferenceServer.AdapterStore;
using InferenceServer.Engine;
using InferenceServer.Models;
using InferenceServer.Server.Devices;
using InferenceServer.Server.Grpc;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Safetensors;
using Microsoft.Extensions.Options;
using ServingStatus = Grpc.Health.V1.HealthCheckResponse.Types.ServingStatus;
using V1 = InferenceServer.Protocol.V1;

namespace InferenceServer.Server.Hosting;

/// <summary>
/// Loads the model beside the listening ports, so that health and metrics answer meanwhile; opens the gate when its loop runs and closes it
/// when the host is told to stop.
/// </summary>
public sealed class ModelStartup(
    IServiceProvider services,
    ServingGate gate,
    HealthServiceImpl health,
    ListenAddresses addresses,
    IHostApplicationLifetime lifetime,
    IOptions<ServerOptions> options,
    ILogger<ModelStartup> log) : IHostedService, IDisposable
{
    private static readonly string[] s_services =
        [
            "", V1.GenerationService.Descriptor.FullName, V1.AdapterService.Descriptor.FullName, V1.ServerService.Descriptor.FullName,
            V1.TrainingService.Descriptor.FullName,
        ];

    private readonly TaskCompletionSource _ready = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly CancellationTokenRegistration[] _registrations = new CancellationTokenRegistration[2];
    private Serving? _serving;
    private Task _pinned = Task.CompletedTask;
    private ContentVerification? _verification;

    /// <summary>Completes once requests are taken; fails with what kept the server from that.</summary>
    public Task Ready => _ready.Task;

    /// <summary>Why the server stopped by itself while it served; null when it did not.</summary>
    public Exception? Fault { get; private set; }

    public Task StartAsync(CancellationToken cancellationToken)
    {
        // Before the ports listen: nobody sees a server that claims to serve.
        SetHealth(ServingStatus.NotServing);
        _registrations[0] = lifetime.ApplicationStarted.Register(BeginLoading);
        _registrations[1] = lifetime.ApplicationStopping.Register(BeginStopping);
        return Task.CompletedTask;
    }

    public async Task StopAsync(CancellationToken cancellationToken)
    {
        // The web server has been stopped before this, and with it every call.
        await _ready.Task.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        await _pinned.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        Interlocked.Exchange(ref _verification, null)?.Dispose();
        if (_serving is not null)
        {
            _serving.Worker.BeginStop();
            _serving.Worker.Join();
            _serving.Evaluations.Stop();
            _serving.Downloads.Stop();
            await _serving.Engine.StopAsync(TimeSpan.Zero);
        }
    }

    public void Dispose()
    {
        Array.ForEach(_registrations, registration => registration.Dispose());
    }

    private void BeginLoading()
    {
        Thread loader = new(Load) { IsBackground = true, Name = "model loader" };
        loader.Start();
    }

    private void Load()
    {
        try
        {
            long start = Stopwatch.GetTimestamp();

            // The one place that asks the container by hand: what serves is made here and not at the first call, and on this thread.
            Serving serving = services.GetRequiredService<Serving>();
            serving.Engine.StartAsync().GetAwaiter().GetResult();
            serving.Worker.Start();
            _serving = serving;
            gate.Open(serving);
            _pinned = serving.Pins.RestoreAsync(lifetime.ApplicationStopping);
            _verification = new ContentVerification(serving.Catalog, log);
            SetHealth(ServingStatus.Serving);
            serving.LogStart(log, Stopwatch.GetElapsedTime(start));
            _ = WatchAsync(serving.Engine);
            ServerLog.Ready(log, Text(addresses.Grpc), addresses.Http is { } http ? Text(http) : ServerOptions.None);
            _ready.TrySetResult();
        }
        catch (Exception error)
        {
            if (!SaysAll(error))
            {
                ServerLog.LoadFailed(log, error);
            }

            ServerLog.CannotServe(log, error.Message);
            _ready.TrySetException(error);
            lifetime.StopApplication();
        }
    }

    /// <summary>Whether the message alone tells the operator what to put right; anything else is logged with its stack.</summary>
    private static bool SaysAll(Exception error)
    {
        return error is ModelFormatException or SafetensorsFormatException or CapacityExceededException or DeviceUnavailableException
            or DeviceMemoryException or IOException or UnauthorizedAccessException;
    }

    /// <summary>An engine that died serves nobody again: the process ends, so that whoever runs it starts another.</summary>
    private async Task WatchAsync(InferenceEngine engine)
    {
        Exception fault = await engine.Fault;
        Fault = fault;
        gate.Close("the engine failed");
        SetHealth(ServingStatus.NotServing);
        ServerLog.CannotServe(log, fault.Message);
        lifetime.StopApplication();
    }

    private void BeginStopping()
    {
        gate.Close("the server is stopping");
        _serving?.Worker.BeginStop();
        health.Shutdown();
        ServerLog.Stopping(log, options.Value.DrainSeconds);
    }

    private void SetHealth(ServingStatus status)
    {
        foreach (string service in s_services)
        {
            health.SetStatus(service, status);
        }
    }

    private static string Text(Uri address)
    {
        return address.GetLeftPart(UriPartial.Authority);
    }
}
