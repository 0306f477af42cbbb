using InferenceServer.Cpu;
using InferenceServer.Cuda;
using InferenceServer.Server.Hosting;

namespace InferenceServer.Server.Devices;

/// <summary>Chooses the machine.</summary>
internal static class ComputePlatforms
{
    /// <summary>The device that was asked for; with auto CUDA where it can be used, and the processor else, with the reason in the log.</summary>
    /// <exception cref="DeviceUnavailableException">CUDA was asked for and cannot be used.</exception>
    public static IComputePlatform Choose(ComputeDevice device, CpuOptions cpu, CudaOptions cuda, ILogger log)
    {
        if (device != ComputeDevice.Cpu)
        {
            if (CudaBackend.TryCreate(cuda, out CudaBackend? backend, out string reason))
            {
                return new CudaPlatform(backend);
            }

            if (device == ComputeDevice.Cuda)
            {
                throw new DeviceUnavailableException($"--device cuda: {reason}");
            }

            ServerLog.NoCuda(log, reason);
        }

        return new CpuPlatform(cpu);
    }
}
