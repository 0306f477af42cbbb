using InferenceServer.Server.Hosting;
using InferenceServer.Training.Jobs;
using Microsoft.Extensions.Options;

namespace InferenceServer.Server.Training;

/// <summary>The jobs on disk, their queue and who works on it.</summary>
internal static class TrainingServices
{
    public static IServiceCollection AddTraining(this IServiceCollection services)
    {
        services.AddOptions<TrainingServerOptions>()
            .BindConfiguration(TrainingServerOptions.SectionName)
            .ValidateDataAnnotations()
            .ValidateOnStart();
        services.AddSingleton(provider => new JobStore(
            Path.Combine(provider.GetRequiredService<IOptions<ServerOptions>>().Value.Data, "training"),
            provider.GetRequiredService<TimeProvider>()));
        services.AddSingleton<TrainingJobs>().AddSingleton<TrainingWorker>().AddSingleton<TrainingMetrics>();
        services.AddSingleton<DataReceiver>().AddSingleton<TrainingEvaluations>().AddSingleton<Downloads>();
        return services;
    }
}
