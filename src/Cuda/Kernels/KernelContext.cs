using InferenceServer.Cuda.Compilation;
using InferenceServer.Cuda.Devices;
using InferenceServer.Cuda.Launching;
using InferenceServer.Cuda.Memory;
using InferenceServer.Cuda.Steps;

namespace InferenceServer.Cuda.Kernels;

/// <summary>What every launcher of one backend needs.</summary>
/// <param name="Machine">What it shares with other backends on the device.</param>
/// <param name="Queue">Where launches go.</param>
/// <param name="Step">The step's tables.</param>
/// <param name="Scratch">Memory between an operation's own kernels.</param>
internal sealed record KernelContext(CudaMachine Machine, KernelQueue Queue, StepTables Step, ScratchMemory Scratch)
{
    public CudaDevice Device => Machine.Device;

    /// <summary>Compiled kernels.</summary>
    public KernelLibrary Library => Machine.Library;
}
