using Xunit;

namespace InferenceServer.KernelTests.Cuda.Nvrtc;

/// <summary>A fact that compiles with NVIDIA's own compiler; skipped with the reason where it is not there.</summary>
[AttributeUsage(AttributeTargets.Method)]
public sealed class NvrtcFactAttribute : FactAttribute
{
    /// <param name="release">The compiler that it needs.</param>
    /// <param name="variable">A variable of the environment that must be "all" for it to run; empty for none.</param>
    public NvrtcFactAttribute(NvrtcRelease release, string variable = "") =>
        Skip = RealNvrtc.Of(release).WhyMissing
            ?? (variable.Length == 0 || Environment.GetEnvironmentVariable(variable) == "all" ? null : $"a long test of one compiler more, which {variable}=all runs");
}
