using Xunit;

namespace InferenceServer.KernelTests.Cuda.Nvrtc;

/// <summary>A theory that compiles with NVIDIA's own compiler; skipped with the reason where it is not there.</summary>
[AttributeUsage(AttributeTargets.Method)]
public sealed class NvrtcTheoryAttribute : TheoryAttribute
{
    /// <param name="release">The compiler that it needs.</param>
    public NvrtcTheoryAttribute(NvrtcRelease release) => Skip = RealNvrtc.Of(release).WhyMissing;
}
