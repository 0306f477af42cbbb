namespace InferenceServer.Server.Hosting;

/// <summary>What computes.</summary>
public enum ComputeDevice
{
    /// <summary>The best device there is.</summary>
    Auto,

    Cpu,
}
