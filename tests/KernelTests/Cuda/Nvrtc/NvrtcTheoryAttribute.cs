using Xunit;

namespace InferenceServer.KernelTests.Cuda.Nvrtc;

/// <summary>A theory that compiles with NVIDIA's own compiler; skipped with the reason where it is not there.</summary>
[AttributeUsage(AttributeTargets.Method)]
public sealed class NvrtcTheoryAttribute : TheoryAttribute
{
    /// <param name="isNewer">Whether it is the newer of the two.</param>
    public NvrtcTheoryAttribute(bool isNewer) => Skip = (isNewer ? RealNvrtc.OfTrixie : RealNvrtc.OfSystem).WhyMissing;
}
