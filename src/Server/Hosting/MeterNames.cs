namespace InferenceServer.Server.Hosting;

/// <summary>What /metrics shows: our own meters, and those of the web server and the runtime that help to see why it is slow.</summary>
internal static class MeterNames
{
    public static IReadOnlyList<string> Exported { get; } =
    [
        "InferenceServer.Engine",
        "InferenceServer.Adapters",
        "InferenceServer.Training",
        "Microsoft.AspNetCore.Server.Kestrel",
        "Microsoft.AspNetCore.Hosting",
    ];
}
