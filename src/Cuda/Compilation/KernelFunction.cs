namespace InferenceServer.Cuda.Compilation;

/// <summary>A kernel and how it is always launched.</summary>
/// <param name="Handle">CUfunction.</param>
/// <param name="Name">For errors.</param>
/// <param name="Threads">Threads of a block.</param>
/// <param name="SharedBytes">Dynamic shared memory of a block.</param>
internal sealed record KernelFunction(nint Handle, string Name, int Threads, int SharedBytes);
