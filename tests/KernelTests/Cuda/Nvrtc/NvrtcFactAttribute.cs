using Xunit;

namespace InferenceServer.KernelTests.Cuda.Nvrtc;

/// <summary>A fact that compiles with NVIDIA's own compiler; skipped with the reason where it is not there.</summary>
[AttributeUsage(AttributeTargets.Method)]
public sealed class NvrtcFactAttribute : FactAttribute
{
    /// <param name="release">The compiler that it needs.</param>
    public NvrtcFactAttribute(NvrtcRelease release) => Skip = RealNvrtc.Of(release).WhyMissing;
}
