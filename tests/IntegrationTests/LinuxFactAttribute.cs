using Xunit;

namespace InferenceServer.IntegrationTests;

/// <summary>A test that needs signals and /proc; skipped elsewhere.</summary>
[AttributeUsage(AttributeTargets.Method)]
public sealed class LinuxFactAttribute : FactAttribute
{
    public LinuxFactAttribute()
    {
        Skip = OperatingSystem.IsLinux() ? null : "needs Linux's signals and /proc";
    }
}
