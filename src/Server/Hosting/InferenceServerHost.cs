using System.ComponentModel.DataAnnotations;
using InferenceServer.Server.Grpc;
using InferenceServer.Server.Metrics;
using InferenceServer.Server.Training;
using Microsoft.Extensions.Options;

namespace InferenceServer.Server.Hosting;

/// <summary>The whole server as an object: built from a command line, started on real ports, stopped in order.</summary>
public sealed class InferenceServerHost : IAsyncDisposable
{
    private readonly WebApplication _app;

    private InferenceServerHost(WebApplication app)
    {
        _app = app;
    }

    public IServiceProvider Services => _app.Services;

    /// <summary>Where gRPC is served; known once the host has started.</summary>
    public Uri GrpcAddress => Services.GetRequiredService<ListenAddresses>().Grpc;

    /// <summary>Where metrics and health are served; null when the server was asked not to.</summary>
    public Uri? HttpAddress => Services.GetRequiredService<ListenAddresses>().Http;

    /// <summary>Completes once the model is loaded and requests are taken; fails with what kept it from that.</summary>
    public Task Ready => Services.GetRequiredService<ModelStartup>().Ready;

    /// <summary>Builds the server without starting anything.</summary>
    /// <param name="arguments">The command line.</param>
    /// <param name="configure">A last word on the services, for tests.</param>
    /// <exception cref="CommandLineException">The command line or the environment is wrong.</exception>
    /// <exception cref="OptionsValidationException">An option is out of range.</exception>
    public static InferenceServerHost Build(IReadOnlyList<string> arguments, Action<WebApplicationBuilder>? configure = null)
    {
        return Build(ServerCommandLine.Parse(arguments, Environment.GetEnvironmentVariables()), configure);
    }

    /// <inheritdoc cref="Build(IReadOnlyList{string}, Action{WebApplicationBuilder}?)"/>
    public static InferenceServerHost Build(ServerCommandLine commandLine, Action<WebApplicationBuilder>? configure = null)
    {
        ArgumentNullException.ThrowIfNull(commandLine);

        // appsettings.json lies beside the program; relative folders on the command line are relative to where it was called.
        WebApplicationBuilder builder =
            WebApplication.CreateSlimBuilder(new WebApplicationOptions { ContentRootPath = AppContext.BaseDirectory });
        builder.Configuration.AddEnvironmentVariables(ServerOption.EnvironmentPrefix);
        builder.Configuration.AddInMemoryCollection(commandLine.Settings);
        ServerOptions options = Bind(builder.Configuration);
        builder.WebHost.UseKestrelHttpsConfiguration();
        builder.WebHost.ConfigureKestrel(kestrel => ListenAddresses.Configure(kestrel, options));
        AddServices(builder.Services, options);
        configure?.Invoke(builder);
        WebApplication app = builder.Build();
        app.MapGrpcService<GenerationServiceImpl>();
        app.MapGrpcService<AdapterServiceImpl>();
        app.MapGrpcService<TrainingServiceImpl>();
        app.MapGrpcService<ServerServiceImpl>();
        app.MapGrpcService<HealthServiceImpl>();
        app.MapGrpcService<ReflectionServiceImpl>();
        app.MapGrpcService<ReflectionServiceImplV1Alpha>();
        OperationsEndpoints.Map(app);
        return new InferenceServerHost(app);
    }

    public Task StartAsync(CancellationToken cancellationToken = default)
    {
        return _app.StartAsync(cancellationToken);
    }

    /// <summary>Refuses new requests, lets running ones end within the drain time, then stops.</summary>
    public Task StopAsync(CancellationToken cancellationToken = default)
    {
        return _app.StopAsync(cancellationToken);
    }

    /// <summary>
    /// Starts, and returns once the process was told to stop (SIGTERM, Ctrl-C): 0; or the model could not be loaded, or the engine died: 1.
    /// </summary>
    /// <exception cref="OptionsValidationException">An option is wrong.</exception>
    public async Task<int> RunAsync()
    {
        await _app.StartAsync();
        await _app.WaitForShutdownAsync();
        return Ready.IsFaulted || Services.GetRequiredService<ModelStartup>().Fault is not null ? 1 : 0;
    }

    public ValueTask DisposeAsync()
    {
        return _app.DisposeAsync();
    }

    /// <summary>Checked here and not at the start, because the ports and what is registered depend on it.</summary>
    private static ServerOptions Bind(ConfigurationManager configuration)
    {
        ServerOptions options = configuration.GetSection(ServerOptions.SectionName).Get<ServerOptions>() ?? new ServerOptions();
        List<ValidationResult> failures = [];
        return Validator.TryValidateObject(options, new ValidationContext(options), failures, validateAllProperties: true)
            ? options
            : throw new OptionsValidationException(
                ServerOptions.SectionName, typeof(ServerOptions), failures.Select(failure => failure.ErrorMessage ?? $"{failure}"));
    }

    private static void AddServices(IServiceCollection services, ServerOptions options)
    {
        services.AddSingleton(Options.Create(options));
        services.AddSingleton(TimeProvider.System);
        services.AddAdapterStore();
        services.AddInferenceEngine();
        services.AddTraining();
        services.AddSingleton<ServingGate>().AddSingleton<ListenAddresses>().AddSingleton<RpcGuard>();
        services.AddSingleton<HealthServiceImpl>().AddSingleton<ReflectionServiceImpl>();
        services.AddSingleton<ModelStartup>().AddHostedService(provider => provider.GetRequiredService<ModelStartup>());
        services.AddGrpc(grpc =>
        {
            grpc.MaxReceiveMessageSize = options.MaxMessageBytes;
            grpc.ShutdownDrain = TimeSpan.FromSeconds(options.DrainSeconds);
        });

        // A little longer than the drain, so that calls end with a status and not with a cut connection.
        services.Configure<HostOptions>(host => host.ShutdownTimeout = TimeSpan.FromSeconds(options.DrainSeconds + 5));
        services.AddPrometheusExporter(prometheus =>
        {
            foreach (string meter in MeterNames.Exported)
            {
                prometheus.Meters.Add(meter);
            }
        });
    }
}
