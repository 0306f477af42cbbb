using System.Diagnostics.Metrics;
using Microsoft.Extensions.Options;
using Microsoft.Net.Http.Headers;

namespace InferenceServer.Server.Metrics;

/// <summary>Adds the exporter to a host and maps its endpoint.</summary>
public static class PrometheusEndpointExtensions
{
    private const string OpenMetricsType = "application/openmetrics-text";

    /// <summary>Adds one <see cref="PrometheusExporter"/>.</summary>
    public static IServiceCollection AddPrometheusExporter(this IServiceCollection services, Action<PrometheusExporterOptions> configure)
    {
        services.AddOptions<PrometheusExporterOptions>().Configure(configure).ValidateDataAnnotations().ValidateOnStart();
        services.AddMetrics();
        return services.AddSingleton(provider => new PrometheusExporter(
            provider.GetRequiredService<IOptions<PrometheusExporterOptions>>().Value,
            provider.GetRequiredService<IMeterFactory>(),
            provider.GetRequiredService<ILogger<PrometheusExporter>>()));
    }

    /// <summary>Maps the endpoint that Prometheus scrapes, and starts collecting.</summary>
    public static IEndpointConventionBuilder MapPrometheus(this IEndpointRouteBuilder endpoints, string path = "/metrics")
    {
        PrometheusExporter exporter = endpoints.ServiceProvider.GetRequiredService<PrometheusExporter>();
        return endpoints.MapGet(path, (HttpContext http) =>
        {
            bool openMetrics = PrefersOpenMetrics(http.Request.Headers.Accept);
            return Results.Text(
                exporter.Write(openMetrics),
                openMetrics ? $"{OpenMetricsType}; version=1.0.0; charset=utf-8" : "text/plain; version=0.0.4; charset=utf-8");
        });
    }

    /// <summary>Whether an Accept header asks for OpenMetrics 1.0.0, and for nothing else more.</summary>
    internal static bool PrefersOpenMetrics(IList<string> accept)
    {
        if (!MediaTypeHeaderValue.TryParseList(accept, out IList<MediaTypeHeaderValue>? types))
        {
            return false;
        }

        double open = 0;
        double text = 0;
        foreach (MediaTypeHeaderValue type in types)
        {
            double quality = type.Quality ?? 1;
            string? version = type.Parameters
                .FirstOrDefault(p => p.Name.Equals("version", StringComparison.OrdinalIgnoreCase))?.Value.Value;
            if (type.MediaType.Equals(OpenMetricsType, StringComparison.OrdinalIgnoreCase) && version is null or "1.0.0")
            {
                open = Math.Max(open, quality);
            }
            else if (type.MediaType.Equals("text/plain", StringComparison.OrdinalIgnoreCase))
            {
                text = Math.Max(text, quality);
            }
        }

        return open > 0 && open >= text;
    }
}
