namespace InferenceServer.Server.Embedded;

/// <summary>What is logged about the demo.</summary>
internal static partial class EmbeddedLog
{
    [LoggerMessage(200, LogLevel.Information, "No --model given: serving the demo, a small base with tenants that answer in different ways")]
    public static partial void Demo(ILogger log);

    [LoggerMessage(201, LogLevel.Information, "Added the demo's tenant '{Name}'")]
    public static partial void TenantAdded(ILogger log, string name);

    [LoggerMessage(202, LogLevel.Warning, "The demo's tenant '{Name}' could not be added: {Reason}")]
    public static partial void TenantNotAdded(ILogger log, string name, string reason);

    [LoggerMessage(203, LogLevel.Warning, "{File} cannot be read and is made anew: {Reason}")]
    public static partial void MemoryUnreadable(ILogger log, string file, string reason);
}
