namespace InferenceServer.Engine.Telemetry;

/// <summary>How a request ended, as metrics name it.</summary>
internal static class RequestOutcome
{
    public const string Stop = "stop";
    public const string Length = "length";
    public const string Cancelled = "cancelled";
    public const string Expired = "expired";
    public const string Failed = "failed";
    public const string Refused = "refused";
    public const string QueueFull = "queue_full";
}
