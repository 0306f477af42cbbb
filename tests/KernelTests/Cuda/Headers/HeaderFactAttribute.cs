using Xunit;

namespace InferenceServer.KernelTests.Cuda.Headers;

/// <summary>A test that reads CUDA's own headers; skipped with the reason where they are not there.</summary>
[AttributeUsage(AttributeTargets.Method)]
public sealed class HeaderFactAttribute : FactAttribute
{
    public HeaderFactAttribute() => Skip = CudaHeaders.WhyMissing;
}
