using InferenceServer.Cuda.Compilation;
using InferenceServer.Cuda.Devices;
using InferenceServer.Cuda.Launching;
using InferenceServer.Cuda.Memory;
using InferenceServer.Cuda.Steps;

namespace InferenceServer.Cuda.Kernels;

/// <summary>What every launcher needs.</summary>
/// <param name="Device">The device.</param>
/// <param name="Library">Compiled kernels.</param>
/// <param name="Queue">Where launches go.</param>
/// <param name="Step">The step's tables.</param>
/// <param name="Scratch">Memory between an operation's own kernels.</param>
internal sealed record KernelContext(CudaDevice Device, KernelLibrary Library, KernelQueue Queue, StepTables Step, ScratchMemory Scratch);
