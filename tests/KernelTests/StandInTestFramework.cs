using InferenceServer.TestKit.Cuda;
using Xunit;
using Xunit.Abstractions;
using Xunit.Sdk;

[assembly: TestFramework("InferenceServer.KernelTests.StandInTestFramework", "InferenceServer.KernelTests")]

namespace InferenceServer.KernelTests;

/// <summary>
/// Xunit's own, but that tests on the CUDA stand-in are skipped with the reason where it cannot be built. The conformance suites' facts are
/// written once for all backends and cannot say that themselves.
/// </summary>
public sealed class StandInTestFramework(IMessageSink messages) : XunitTestFramework(messages)
{
    protected override ITestFrameworkDiscoverer CreateDiscoverer(IAssemblyInfo assemblyInfo) =>
        StandIn.WhyMissing is null
            ? base.CreateDiscoverer(assemblyInfo)
            : new Discoverer(assemblyInfo, SourceInformationProvider, DiagnosticMessageSink);

    private sealed class Discoverer(IAssemblyInfo assembly, ISourceInformationProvider sources, IMessageSink messages)
        : XunitTestFrameworkDiscoverer(assembly, sources, messages)
    {
        protected override bool FindTestsForMethod(
            ITestMethod testMethod, bool includeSourceInformation, IMessageBus messageBus, ITestFrameworkDiscoveryOptions discoveryOptions)
        {
            bool isFact = testMethod.Method.GetCustomAttributes(typeof(FactAttribute)).Any();
            IAttributeInfo? collection = testMethod.TestClass.Class.GetCustomAttributes(typeof(CollectionAttribute)).FirstOrDefault();
            return isFact && collection?.GetConstructorArguments().First() is StandInCollection.Name
                ? ReportDiscoveredTestCase(new SkippedTestCase(DiagnosticMessageSink, testMethod), includeSourceInformation, messageBus)
                : base.FindTestsForMethod(testMethod, includeSourceInformation, messageBus, discoveryOptions);
        }
    }
}
