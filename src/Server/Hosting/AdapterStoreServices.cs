using InferenceServer.AdapterStore.Cache;
using InferenceServer.AdapterStore.Catalog;
using InferenceServer.Engine.Adapters;
using InferenceServer.Models;
using InferenceServer.Server.Embedded;
using InferenceServer.Server.Uploads;
using InferenceServer.Tensors;
using Microsoft.Extensions.Options;

namespace InferenceServer.Server.Hosting;

/// <summary>Catalog and cache of adapters, and the door for uploads.</summary>
internal static class AdapterStoreServices
{
    public static IServiceCollection AddAdapterStore(this IServiceCollection services)
    {
        services.AddOptions<AdapterCatalogOptions>()
            .BindConfiguration(AdapterCatalogOptions.SectionName)
            .Configure<IOptions<ServerOptions>>((catalog, server) => catalog.Root = server.Value.Data)
            .ValidateDataAnnotations()
            .ValidateOnStart();
        services.AddOptions<AdapterCacheOptions>()
            .BindConfiguration(AdapterCacheOptions.SectionName)
            .ValidateDataAnnotations()
            .ValidateOnStart();
        services.AddSingleton(CreateCatalog);
        services.AddSingleton(CreateCache);
        services.AddSingleton(CreateAccess);
        services.AddSingleton(provider => new UploadSlots(provider.GetRequiredService<IOptions<ServerOptions>>().Value.MaxUploads));
        services.AddSingleton(CreateReceiver);
        return services;
    }

    private static AdapterCatalog CreateCatalog(IServiceProvider provider)
    {
        ServerOptions server = provider.GetRequiredService<IOptions<ServerOptions>>().Value;
        AdapterCatalog catalog = new(
            provider.GetRequiredService<IOptions<AdapterCatalogOptions>>().Value,
            provider.GetRequiredService<LanguageModel>().Transformer.Shape,
            provider.GetRequiredService<TimeProvider>());
        ILogger log = provider.GetRequiredService<ILogger<AdapterCatalog>>();
        foreach (CatalogProblem problem in catalog.Problems)
        {
            ServerLog.AdapterProblem(log, problem.Subject, problem.Reason);
        }

        catalog.ProblemFound += problem => ServerLog.AdapterProblem(log, problem.Subject, problem.Reason);
        if (server.Model.Length == 0)
        {
            new DemoTenants(catalog, server.Data, log).Add();
        }

        return catalog;
    }

    private static AdapterCache CreateCache(IServiceProvider provider)
    {
        return new AdapterCache(
            provider.GetRequiredService<AdapterCatalog>(),
            provider.GetRequiredService<IComputeBackend>(),
            Format(provider),
            provider.GetRequiredService<IOptions<AdapterCacheOptions>>().Value,
            provider.GetRequiredService<TimeProvider>());
    }

    private static AdapterAccess CreateAccess(IServiceProvider provider)
    {
        AdapterCatalog catalog = provider.GetRequiredService<AdapterCatalog>();
        return new AdapterAccess(
            name => catalog.Get(name).Id,
            catalog,
            provider.GetRequiredService<AdapterCache>(),
            provider.GetRequiredService<IOptions<AdapterCacheOptions>>().Value.DeviceBudgetBytes,
            Format(provider));
    }

    private static UploadReceiver CreateReceiver(IServiceProvider provider)
    {
        AdapterCatalogOptions catalog = provider.GetRequiredService<IOptions<AdapterCatalogOptions>>().Value;
        ServerOptions server = provider.GetRequiredService<IOptions<ServerOptions>>().Value;
        UploadLimits limits = new(catalog.Limits.MaxConfigBytes, catalog.Limits.MaxBytes, TimeSpan.FromSeconds(server.UploadIdleSeconds));
        return new UploadReceiver(limits, provider.GetRequiredService<TimeProvider>());
    }

    /// <summary>
    /// Adapters are kept on the device as the base is, or in bf16 beside a quantised one: a model served in f32 loses nothing to its
    /// adapters.
    /// </summary>
    private static WeightFormat Format(IServiceProvider provider)
    {
        return provider.GetRequiredService<IOptions<ServerOptions>>().Value.Weights.Unquantized();
    }
}
