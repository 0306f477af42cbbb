using InferenceServer.TestKit.Cuda;
using Xunit.Abstractions;
using Xunit.Sdk;

namespace InferenceServer.KernelTests;

/// <summary>A test on the CUDA stand-in where there is none.</summary>
public sealed class SkippedTestCase : XunitTestCase
{
    [Obsolete("For the runner, which reads test cases back.")]
    public SkippedTestCase()
    {
    }

    public SkippedTestCase(IMessageSink messages, ITestMethod method)
        : base(messages, TestMethodDisplay.ClassAndMethod, TestMethodDisplayOptions.None, method)
    {
    }

    protected override string GetSkipReason(IAttributeInfo factAttribute) => StandIn.WhyMissing ?? base.GetSkipReason(factAttribute);
}
