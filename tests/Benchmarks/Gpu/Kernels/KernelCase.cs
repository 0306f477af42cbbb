using InferenceServer.Tensors.Steps;

namespace InferenceServer.Benchmarks.Gpu.Kernels;

/// <summary>One operation of the model to time.</summary>
/// <param name="Name">What a row of the table is called.</param>
/// <param name="Bytes">Bytes that a call must read and write at least.</param>
/// <param name="Operations">Floating-point operations of a call; a multiply-add is two.</param>
/// <param name="Step">The step that it belongs to.</param>
/// <param name="Call">One call; the argument counts them, to rotate over more memory than a cache holds.</param>
internal sealed record KernelCase(string Name, double Bytes, double Operations, StepInputs Step, Action<int> Call);
