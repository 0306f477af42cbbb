using InferenceServer.Engine.Requests;
using InferenceServer.Engine.Streaming;
using Xunit;

namespace InferenceServer.UnitTests.Engine;

public sealed class EngineAllocationTests
{
    [Theory]
    [InlineData(false, false)]
    [InlineData(true, false)]
    [InlineData(false, true)]
    public async Task A_warm_decode_step_allocates_nothing(bool isMerged, bool drawsByBackend)
    {
        await using EngineHost host = await EngineHost.StartAsync(new EngineHostOptions { DrawsByBackend = drawsByBackend });
        if (isMerged)
        {
            await host.Engine.MergeAsync(EngineHost.Id("lora-1"));
        }

        // Loaded beforehand, or the last request would begin when the first has ended.
        foreach (string name in new[] { "lora-0", "lora-1", "lora-2", "lora-3" })
        {
            await host.Cache.PreloadAsync(EngineHost.Id(name));
        }

        const int Steps = 200;
        long[] allocated = new long[1000];
        int[] rows = new int[1000];
        int step = 0;

        // From the beginning of one forward to the beginning of the next: the whole round of the loop, on the loop's own thread.
        host.Backend.OnBeginStep = inputs =>
        {
            rows[step] = inputs.TokenCount;
            allocated[step++] = GC.GetAllocatedBytesForCurrentThread();
        };
        GenerationRequest[] requests =
        [
            Request("greedy", new SamplingParameters { Temperature = 0 }),
            Request("greedy, adapter", new SamplingParameters { Temperature = 0 }, new AdapterReference("lora-0")),
            Request("sampled, adapter", new SamplingParameters { Temperature = 0.8f, TopP = 0.9f, TopK = 50, Seed = 1 }, new AdapterReference("lora-1")),
            Request("sampled, stack", new SamplingParameters { Seed = 2, RepetitionPenalty = 1.2f }, new("lora-2"), new("lora-3", 0.5f)),
        ];
        GenerationStream[] streams = await Task.WhenAll(requests.Select(request => host.Engine.SubmitAsync(request)));

        // One is read all the time, the others only at the end.
        await EngineHost.ReadAsync(streams[0]).WaitAsync(EngineHost.Patience);
        foreach (GenerationStream stream in streams)
        {
            await stream.Completion.WaitAsync(EngineHost.Patience);
            await stream.DisposeAsync();
        }

        List<long> each = [];
        for (int i = 50; i < step - 1; i++)
        {
            if (rows[i] == requests.Length && rows[i + 1] == requests.Length)
            {
                each.Add(allocated[i + 1] - allocated[i]);
            }
        }

        Assert.True(each.Count > Steps / 2, $"{each.Count} warm steps of all four requests");
        Assert.All(each, bytes => Assert.Equal(0, bytes));

        static GenerationRequest Request(string prompt, SamplingParameters sampling, params IReadOnlyList<AdapterReference> adapters) =>
            EngineHost.Request(prompt, Steps, adapters) with { Sampling = sampling, Output = new OutputOptions() };
    }

    [Fact]
    public async Task An_idle_engine_uses_no_processor_and_holds_no_adapter()
    {
        await using EngineHost host = await EngineHost.StartAsync();
        await host.GenerateAsync(EngineHost.Request("Once", 5, new AdapterReference("lora-0")));
        int steps = 0;
        host.Backend.OnBeginStep = _ => steps++;

        // An adapter without leases can be unloaded at once.
        await host.Cache.UnloadAsync(EngineHost.Id("lora-0")).WaitAsync(EngineHost.Patience);

        Assert.Empty(host.Cache.Snapshot());
        Assert.Equal(0, steps);
    }
}
