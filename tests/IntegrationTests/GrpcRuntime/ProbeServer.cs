using System.Net;
using Grpc.AspNetCore.Server;
using Grpc.Net.Client;
using InferenceServer.IntegrationTests.GrpcRuntime.Protos;
using InferenceServer.Server.Grpc;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace InferenceServer.IntegrationTests.GrpcRuntime;

/// <summary>The probe service, health and reflection on a real Kestrel at a free port of the loopback, HTTP/2 without TLS.</summary>
public sealed class ProbeServer : IAsyncDisposable
{
    private readonly WebApplication _app;

    private ProbeServer(WebApplication app)
    {
        _app = app;
        Address = new Uri(app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.First());
        Channel = GrpcChannel.ForAddress(Address);
        Client = new Probe.ProbeClient(Channel);
    }

    public Uri Address { get; }

    public GrpcChannel Channel { get; }

    public Probe.ProbeClient Client { get; }

    public IServiceProvider Services => _app.Services;

    public ProbeLog Log => _app.Services.GetRequiredService<ProbeLog>();

    /// <summary>What the server logged as errors.</summary>
    public ErrorLog Errors => _app.Services.GetRequiredService<ErrorLog>();

    public HealthServiceImpl Health => _app.Services.GetRequiredService<HealthServiceImpl>();

    public static async Task<ProbeServer> StartAsync(
        Action<GrpcServiceOptions>? grpc = null, Action<IServiceCollection>? services = null, Action<ListenOptions>? listen = null)
    {
        WebApplicationBuilder builder = WebApplication.CreateSlimBuilder();
        ErrorLog errors = new();
        builder.Logging.ClearProviders().AddProvider(errors);
        builder.WebHost.UseKestrelHttpsConfiguration();
        builder.WebHost.ConfigureKestrel(kestrel => kestrel.Listen(IPAddress.Loopback, 0, options =>
        {
            options.Protocols = HttpProtocols.Http2;
            listen?.Invoke(options);
        }));
        builder.Services.AddGrpc(grpc ?? (_ => { }));
        builder.Services.AddSingleton(errors).AddSingleton<ProbeLog>();
        builder.Services.AddSingleton<HealthServiceImpl>().AddSingleton<ReflectionServiceImpl>();
        services?.Invoke(builder.Services);
        WebApplication app = builder.Build();
        app.MapGrpcService<ProbeService>();
        app.MapGrpcService<HealthServiceImpl>();
        app.MapGrpcService<ReflectionServiceImpl>();
        app.MapGrpcService<ReflectionServiceImplV1Alpha>();
        await app.StartAsync();
        return new ProbeServer(app);
    }

    public Task StopAsync() => _app.StopAsync();

    public async ValueTask DisposeAsync()
    {
        Channel.Dispose();
        await _app.DisposeAsync();
    }
}
