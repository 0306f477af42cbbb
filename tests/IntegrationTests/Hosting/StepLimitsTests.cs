using InferenceServer.Server.Devices;
using Xunit;

namespace InferenceServer.IntegrationTests.Hosting;

public sealed class StepLimitsTests
{
    [Theory]
    [InlineData(0, 512, 64)]
    [InlineData(8L << 30, 1024, 64)]
    [InlineData(23L << 30, 2048, 64)]
    [InlineData(79L << 30, 8192, 256)]
    [InlineData(140L << 30, 8192, 256)]
    public void Tokens_and_sequences_of_a_step_grow_with_the_devices_memory(long freeBytes, int tokens, int sequences)
    {
        Assert.Equal(new StepLimits(tokens, sequences), StepLimits.OfDevice(freeBytes));
    }
}
