using InferenceServer.Server.Metrics;

namespace InferenceServer.Server.Hosting;

/// <summary>The HTTP port: /metrics, /health/live and /health/ready.</summary>
internal static class OperationsEndpoints
{
    public static void Map(WebApplication app)
    {
        RouteGroupBuilder group = app.MapGroup("").AddEndpointFilter(OnlyOnHttpPort);
        group.MapPrometheus();
        group.MapGet("/health/live", () => Results.Text("live\n"));
        group.MapGet("/health/ready", (ServingGate gate) => gate.IsOpen
            ? Results.Text("ready\n")
            : Results.Text("not ready\n", statusCode: StatusCodes.Status503ServiceUnavailable));
    }

    /// <summary>The gRPC port speaks HTTP/2 only and this one HTTP/1.1 only: tenants who reach the first see none of this.</summary>
    private static async ValueTask<object?> OnlyOnHttpPort(EndpointFilterInvocationContext context, EndpointFilterDelegate next)
    {
        return HttpProtocol.IsHttp2(context.HttpContext.Request.Protocol) ? Results.NotFound() : await next(context);
    }
}
