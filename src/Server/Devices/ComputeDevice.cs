namespace InferenceServer.Server.Devices;

/// <summary>What computes.</summary>
public enum ComputeDevice
{
    /// <summary>CUDA where it can be used, else the CPU.</summary>
    Auto,

    Cpu,

    Cuda,
}
