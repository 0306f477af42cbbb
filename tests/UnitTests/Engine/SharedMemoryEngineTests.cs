using InferenceServer.AdapterStore.Cache;
using InferenceServer.Engine;
using InferenceServer.Engine.Errors;
using InferenceServer.Engine.Requests;
using InferenceServer.Engine.Scheduling;
using InferenceServer.TestKit.Cuda;
using Xunit;

namespace InferenceServer.UnitTests.Engine;

/// <summary>The whole engine on CUDA's stand-in, with a memory that KV blocks and adapters share and that is too small for all of them.</summary>
[Collection(StandInCollection.Name)]
public sealed class SharedMemoryEngineTests : IDisposable
{
    // A block of 16 tokens, and so a chunk of a small memory, is 4096 bytes.
    private const long Chunk = 4096;

    private static readonly string[] s_adapters = ["", "lora-0", "lora-1", "lora-2", "lora-3", "routed-5"];

    public void Dispose() => StandIn.Reset();

    [StandInTheory]
    [InlineData(StreamOrder.AtOnce, 31, 8)]
    [InlineData(StreamOrder.Shuffled, 31, 3)]
    [InlineData(StreamOrder.Lazy, 31, 2)]
    public async Task Tokens_are_the_same_while_memory_changes_hands(StreamOrder order, int chunks, int atOnce)
    {
        GenerationRequest[] requests = Requests();
        List<EngineHost.Result> expected = [];
        await using (EngineHost alone = await EngineHost.StartAsync(Options(null)))
        {
            foreach (GenerationRequest request in requests)
            {
                expected.Add(await alone.GenerateAsync(request));
            }
        }

        await using EngineHost shared = await EngineHost.StartAsync(Options(chunks * Chunk));
        SharedCudaBackend backend = (SharedCudaBackend)shared.Backend;
        StandIn.SetOrder(order, seed: 7);
        for (int first = 0; first < requests.Length; first += atOnce)
        {
            EngineHost.Result[] actual = await Task.WhenAll(requests.Skip(first).Take(atOnce).Select(shared.GenerateAsync)).WaitAsync(EngineHost.Patience);
            for (int i = 0; i < actual.Length; i++)
            {
                actual[i].AssertSame(expected[first + i]);
            }
        }

        AdapterCacheStatistics cache = shared.Cache.GetStatistics();
        Assert.Equal(0, cache.FailedLoads);
        Assert.True(cache.DeviceEvictions > 0, "no adapter made room");
        Assert.True(backend.Guard!.Moves is { Adapters: > 10, KeyValues: > 10 }, backend.Guard.Moves.ToString());
        SharedMemorySnapshot now = shared.Engine.Snapshot().SharedMemory!;
        Assert.True(now.GivenBytes > 0, "no block made room");
        Assert.Equal(chunks * Chunk, now.TotalBytes);
        Assert.Equal(now.AdapterBytes, backend.Chunks!.AdapterCount * Chunk);
        await WaitUntilNothingIsWantedAsync(shared);
    }

    [StandInFact]
    public async Task Few_adapters_leave_nearly_all_of_the_memory_to_long_prompts()
    {
        await using EngineHost host = await EngineHost.StartAsync(Options(60 * Chunk));
        SharedCudaBackend backend = (SharedCudaBackend)host.Backend;

        // Seven of 8 blocks each.
        EngineHost.Result[] results = await Task.WhenAll(Enumerable.Range(0, 7).Select(i => host.GenerateAsync(EngineHost.Request(new string((char)('a' + i), 100), 20))));

        Assert.All(results, result => Assert.Equal(20, result.Tokens.Count));
        Assert.Equal(0, host.Engine.Snapshot().Preemptions);
        Assert.InRange(backend.Chunks!.KvCount, 50, 58);
    }

    [StandInFact]
    public async Task A_request_that_needs_more_than_sequences_can_count_on_is_refused_at_the_door()
    {
        await using EngineHost host = await EngineHost.StartAsync(Options(8 * Chunk));
        Assert.Equal((6, 2), (((SharedCudaBackend)host.Backend).Chunks!.KvFloor, ((SharedCudaBackend)host.Backend).Chunks!.AdapterFloor));

        await Assert.ThrowsAsync<InvalidRequestException>(() => host.GenerateAsync(EngineHost.Request(new string('x', 97), 1)));

        Assert.Single((await host.GenerateAsync(EngineHost.Request(new string('x', 90), 1))).Tokens);
    }

    [StandInFact]
    public async Task A_decode_step_is_one_copy_up_and_one_down_also_when_it_grows_into_new_memory()
    {
        await using EngineHost host = await EngineHost.StartAsync(Options(60 * Chunk) with { AdapterBytes = 8 * Chunk });
        GenerationRequest request = EngineHost.Request("Count the copies of each of my steps", 60, new AdapterReference("lora-0"), new AdapterReference("lora-2")) with
        {
            Sampling = new SamplingParameters { Temperature = 0.9f, TopP = 0.9f, FrequencyPenalty = 0.3f, Seed = 3 },
            Output = new OutputOptions(),
        };
        await host.GenerateAsync(request);
        List<StandInCounters> counters = [];
        host.Backend.OnBeginStep = _ => counters.Add(StandIn.Counters);

        await Task.WhenAll(host.GenerateAsync(request), host.GenerateAsync(request with { Adapters = [] }));

        // From the third step on both decode; the first ones hold prompts, which are launched kernel by kernel, with one copy up too.
        Assert.True(counters.Count > 55);
        for (int i = 1; i < counters.Count; i++)
        {
            Assert.Equal((1, 1), (counters[i].CopiesUp - counters[i - 1].CopiesUp, counters[i].CopiesDown - counters[i - 1].CopiesDown));
        }

        Assert.True(counters[^1].GraphLaunches - counters[0].GraphLaunches > 45);
    }

    private static EngineHostOptions Options(long? sharedBytes) => new()
    {
        CreateBackend = SharedCudaBackend.Create,
        Scheduler = new SchedulerOptions { MaxBatchTokens = 64, MaxRunningSequences = 8, KvBlockSize = 16 },
        MaxModelLength = 128,
        SharedBytes = sharedBytes,
        AdapterBytes = sharedBytes is null ? 1 << 24 : 2 * Chunk,
    };

    private static GenerationRequest[] Requests()
    {
        Random random = new(11);
        return
        [
            .. Enumerable.Range(0, 24).Select(i =>
            {
                string adapter = s_adapters[random.Next(s_adapters.Length)];
                string prompt = new([.. Enumerable.Range(0, random.Next(1, 90)).Select(_ => (char)('a' + random.Next(26)))]);
                return EngineHost.Request(prompt, random.Next(1, 16), adapter.Length == 0 ? [] : [new AdapterReference(adapter)]);
            }),
        ];
    }

    private static async Task WaitUntilNothingIsWantedAsync(EngineHost host)
    {
        DateTime end = DateTime.UtcNow + EngineHost.Patience;
        while (host.Engine.Snapshot().SharedMemory!.WantedBytes > 0)
        {
            Assert.True(DateTime.UtcNow < end, "adapters still want memory");
            await Task.Yield();
        }
    }
}
