using Xunit;

namespace InferenceServer.TestKit.Cuda;

/// <summary>A test that runs kernels on the stand-in for CUDA; skipped with the reason where it cannot be built.</summary>
[AttributeUsage(AttributeTargets.Method)]
public sealed class StandInFactAttribute : FactAttribute
{
    public StandInFactAttribute() => Skip = StandIn.WhyMissing;
}
