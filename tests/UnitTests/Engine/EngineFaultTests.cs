using InferenceServer.Engine;
using InferenceServer.Engine.Errors;
using InferenceServer.Engine.Streaming;
using InferenceServer.Tensors;
using Xunit;

namespace InferenceServer.UnitTests.Engine;

/// <summary>What a device's errors end: its step, or everything.</summary>
public sealed class EngineFaultTests
{
    [Fact]
    public async Task A_lost_device_fails_every_request_and_the_engine_says_why()
    {
        await using EngineHost host = await EngineHost.StartAsync();
        DeviceLostException lost = new("cuLaunchKernel: an illegal address", new InvalidOperationException());
        int steps = 0;
        host.Backend.OnBeginStep = _ =>
        {
            if (++steps > 3)
            {
                throw lost;
            }
        };

        await using GenerationStream stream = await host.Engine.SubmitAsync(EngineHost.Request("Runs when the device goes", 40));
        await using GenerationStream other = await host.Engine.SubmitAsync(EngineHost.Request("And so does this", 40));

        await Assert.ThrowsAsync<GenerationFailedException>(async () => await EngineHost.ReadAsync(stream).WaitAsync(EngineHost.Patience));
        await Assert.ThrowsAsync<GenerationFailedException>(async () => await EngineHost.ReadAsync(other).WaitAsync(EngineHost.Patience));
        Assert.Same(lost, await host.Engine.Fault.WaitAsync(EngineHost.Patience));
        Assert.Equal(EngineState.Faulted, host.Engine.State);
        await Assert.ThrowsAsync<EngineStoppedException>(async () => await host.Engine.SubmitAsync(EngineHost.Request("Too late")));
    }

    [Fact]
    public async Task A_device_without_memory_fails_the_step_that_asked_and_serves_the_next()
    {
        await using EngineHost host = await EngineHost.StartAsync();
        EngineHost.Result expected = await host.GenerateAsync(EngineHost.Request("Served before and after"));
        bool isFull = true;
        int abandoned = 0;
        host.Backend.OnAbandonStep = () => abandoned++;
        host.Backend.OnBeginStep = _ =>
        {
            if (isFull)
            {
                isFull = false;
                throw new DeviceMemoryException("100 bytes are more than the 7 free");
            }
        };

        await using GenerationStream stream = await host.Engine.SubmitAsync(EngineHost.Request("Finds no memory"));
        await Assert.ThrowsAsync<GenerationFailedException>(async () => await EngineHost.ReadAsync(stream).WaitAsync(EngineHost.Patience));

        (await host.GenerateAsync(EngineHost.Request("Served before and after"))).AssertSame(expected);
        Assert.False(host.Engine.Fault.IsCompleted);
        Assert.Equal(1, abandoned);
    }
}
