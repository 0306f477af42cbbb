using Xunit;

namespace InferenceServer.KernelTests.Cpu;

/// <summary>Tests that measure something of the whole process, so nothing may run beside them.</summary>
[CollectionDefinition(Name, DisableParallelization = true)]
public sealed class SerialTests
{
    public const string Name = "serial";
}
