namespace InferenceServer.TestKit.Cuda;

/// <summary>
/// Whether tests run on this machine's own device in place of the stand-in: the environment variable
/// <c>CUDA_TEST_KERNELS</c> asks for it and names the folder that keeps the compiled kernels, which every test would compile again else.
/// </summary>
public static class CudaHardware
{
    public const string Variable = "CUDA_TEST_KERNELS";

    /// <summary>The folder; empty where the stand-in is to be used.</summary>
    public static string KernelCache { get; } = Environment.GetEnvironmentVariable(Variable) ?? "";

    /// <summary>Whether the machine's own device is to be used.</summary>
    public static bool IsAsked => KernelCache.Length > 0;

    /// <summary>Folders with CUDA's libraries: the stand-in's, or empty for the machine's own.</summary>
    public static string LibraryPath => IsAsked ? "" : StandIn.Folder;
}
