using Xunit;

namespace InferenceServer.TestKit;

/// <summary>A test over the golden data; skipped with its reason where there is none and none was named.</summary>
[AttributeUsage(AttributeTargets.Method)]
public sealed class GoldenFactAttribute : FactAttribute
{
    public GoldenFactAttribute()
    {
        if (GoldenData.Root is null)
        {
            Skip = GoldenData.MissingReason;
        }
    }
}
