namespace InferenceServer.Server.Hosting;

/// <summary>What the process was asked to do.</summary>
public enum ServerMode
{
    Serve,
    Help,
    Version,
    HealthCheck,
}
