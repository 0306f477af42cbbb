using Xunit;

namespace InferenceServer.TestKit;

/// <summary>A test that needs programs from outside; skipped with the reason where one is missing.</summary>
[AttributeUsage(AttributeTargets.Method)]
public sealed class RequiresFactAttribute : FactAttribute
{
    public RequiresFactAttribute(Tool tools)
    {
        Tools = tools;
        Skip = ExternalTools.WhyMissing(tools);
    }

    public Tool Tools { get; }
}
