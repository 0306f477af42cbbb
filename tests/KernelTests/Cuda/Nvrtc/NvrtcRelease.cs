namespace InferenceServer.KernelTests.Cuda.Nvrtc;

/// <summary>Which of NVIDIA's compilers a test takes.</summary>
public enum NvrtcRelease
{
    System,
    Trixie,
    Cuda13,
}
