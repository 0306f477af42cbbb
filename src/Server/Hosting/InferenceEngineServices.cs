using InferenceServer.Cpu;
using InferenceServer.Cuda;
using InferenceServer.Engine;
using InferenceServer.Engine.Adapters;
using InferenceServer.Engine.Merging;
using InferenceServer.Engine.Scheduling;
using InferenceServer.Models;
using InferenceServer.Models.PackedWeights;
using InferenceServer.Models.Transformer;
using InferenceServer.Server.Devices;
using InferenceServer.Server.Embedded;
using InferenceServer.Tensors;
using Microsoft.Extensions.Options;

namespace InferenceServer.Server.Hosting;

/// <summary>Model, device and engine. Each is made when first asked for, which is on the loading thread.</summary>
internal static class InferenceEngineServices
{
    public static IServiceCollection AddInferenceEngine(this IServiceCollection services)
    {
        services.AddOptions<CpuOptions>().BindConfiguration("Cpu");
        services.AddOptions<CudaOptions>().BindConfiguration("Cuda");
        services.AddOptions<SchedulerOptions>().BindConfiguration(SchedulerOptions.SectionName).ValidateDataAnnotations().ValidateOnStart();
        services.AddOptions<EngineOptions>().BindConfiguration(EngineOptions.SectionName).ValidateDataAnnotations().ValidateOnStart();
        services.AddOptions<PackedCacheOptions>().BindConfiguration(PackedCacheOptions.SectionName).ValidateDataAnnotations().ValidateOnStart();
        services.AddOptions<MergeOptions>().BindConfiguration(MergeOptions.SectionName).ValidateDataAnnotations().ValidateOnStart();
        services.AddSingleton(ChoosePlatform);
        services.AddSingleton(provider => provider.GetRequiredService<IComputePlatform>().Serving);
        services.AddSingleton(LoadModel);
        services.AddSingleton(CreateEngine);
        services.AddSingleton<AdapterUsage>().AddSingleton<AdapterPins>().AddSingleton<Serving>();
        return services;
    }

    private static InferenceEngine CreateEngine(IServiceProvider provider)
    {
        LanguageModel model = provider.GetRequiredService<LanguageModel>();
        SchedulerOptions scheduler = provider.GetRequiredService<IOptions<SchedulerOptions>>().Value;
        return new InferenceEngine(
            model,
            provider.GetRequiredService<IComputeBackend>(),
            provider.GetRequiredService<AdapterAccess>(),
            provider.GetRequiredService<IOptions<EngineOptions>>().Value,
            scheduler,
            provider.GetRequiredService<IOptions<MergeOptions>>().Value,
            provider.GetRequiredService<TimeProvider>(),
            provider.GetRequiredService<ILogger<InferenceEngine>>(),
            provider.GetRequiredService<IComputePlatform>().CreateProbe);
    }

    private static IComputePlatform ChoosePlatform(IServiceProvider provider)
    {
        ServerOptions server = provider.GetRequiredService<IOptions<ServerOptions>>().Value;
        CudaOptions cuda = provider.GetRequiredService<IOptions<CudaOptions>>().Value;
        if (cuda.KernelCache.Length == 0)
        {
            cuda.KernelCache = Path.GetFullPath(Path.Combine(server.Data, "kernels"));
        }

        cuda.KeyValues = server.KvFormat ?? cuda.KeyValues;
        IComputePlatform platform = ComputePlatforms.Choose(
            server.Device,
            provider.GetRequiredService<IOptions<CpuOptions>>().Value,
            cuda,
            provider.GetRequiredService<ILogger<IComputePlatform>>());
        SetDefaults(
            provider.GetRequiredService<IOptions<SchedulerOptions>>().Value,
            provider.GetRequiredService<IConfiguration>().GetSection(SchedulerOptions.SectionName),
            platform.DefaultLimits);
        return platform;
    }

    /// <summary>Limits of a step that were not given become the device's.</summary>
    private static void SetDefaults(SchedulerOptions options, IConfigurationSection given, StepLimits defaults)
    {
        if (given[nameof(SchedulerOptions.MaxBatchTokens)] is null)
        {
            options.MaxBatchTokens = defaults.BatchTokens;
        }

        if (given[nameof(SchedulerOptions.MaxRunningSequences)] is null)
        {
            options.MaxRunningSequences = Math.Min(defaults.RunningSequences, options.MaxBatchTokens);
        }
    }

    private static LanguageModel LoadModel(IServiceProvider provider)
    {
        ServerOptions server = provider.GetRequiredService<IOptions<ServerOptions>>().Value;
        SchedulerOptions scheduler = provider.GetRequiredService<IOptions<SchedulerOptions>>().Value;
        ILogger log = provider.GetRequiredService<ILogger<LanguageModel>>();
        string folder = server.Model;
        if (folder.Length == 0)
        {
            folder = DemoModel.BaseFolder;
            EmbeddedLog.Demo(log);
        }

        ServerLog.Loading(log, Path.GetFileName(Path.TrimEndingDirectorySeparator(Path.GetFullPath(folder))), folder);
        return LanguageModel.Load(folder, provider.GetRequiredService<IComputeBackend>(), new ModelLoadOptions
        {
            Weights = server.Weights,
            Head = server.HeadWeights ?? (server.Weights.IsQuantized() ? WeightFormat.Int8 : null),
            MaxBatchTokens = scheduler.MaxBatchTokens,
            MaxSampledRows = scheduler.MaxRunningSequences,
            MaxModelLength = server.MaxModelLength == 0 ? null : server.MaxModelLength,
            PackedWeights = CreatePackedCache(provider.GetRequiredService<IOptions<PackedCacheOptions>>().Value, server, log),
        }, new LoadingLog(log, provider.GetRequiredService<TimeProvider>()));
    }

    private static PackedWeightCache? CreatePackedCache(PackedCacheOptions options, ServerOptions server, ILogger log)
    {
        if (options.Folder == PackedCacheOptions.Off)
        {
            return null;
        }

        string folder = options.Folder.Length > 0 ? options.Folder : Path.Combine(server.Data, "packed");
        return new PackedWeightCache(Path.GetFullPath(folder), options, new PackedCacheLog(log));
    }
}
