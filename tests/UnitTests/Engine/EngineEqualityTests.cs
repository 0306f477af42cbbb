using InferenceServer.Engine.Requests;
using InferenceServer.Engine.Scheduling;
using Xunit;

namespace InferenceServer.UnitTests.Engine;

/// <summary>However the engine batches, cuts, reuses or repeats work: the same request gives the same bits.</summary>
public sealed class EngineEqualityTests
{
    private static readonly string[] s_prompts =
    [
        "The quick brown fox jumps over the lazy dog",
        "a",
        "To be, or not to be: that is the question, whether it is nobler in the mind to suffer the slings and arrows",
        "0123456789",
        "Sixteen letters.",
    ];

    [Fact]
    public async Task Batched_equals_alone()
    {
        GenerationRequest[] requests = Requests();
        List<EngineHost.Result> alone = await OneByOneAsync(requests);
        await using EngineHost host = await EngineHost.StartAsync();

        EngineHost.Result[] together = await Task.WhenAll(requests.Select(host.GenerateAsync));

        AssertSame(alone, together);

        // Adapters must matter, or equality would prove nothing.
        Assert.True(alone.Select(result => string.Join(',', result.Tokens)).Distinct().Count() > requests.Length / 2);
    }

    [Fact]
    public async Task A_prompt_in_chunks_equals_a_whole_one()
    {
        GenerationRequest[] requests = Requests();
        List<EngineHost.Result> whole = await OneByOneAsync(requests);
        await using EngineHost host = await EngineHost.StartAsync(new EngineHostOptions
        {
            Scheduler = new SchedulerOptions { MaxBatchTokens = 7, MaxRunningSequences = 5, KvBlockSize = 8 },
        });

        EngineHost.Result[] chunked = await Task.WhenAll(requests.Select(host.GenerateAsync));

        AssertSame(whole, chunked);
    }

    [Fact]
    public async Task A_reused_prefix_equals_a_fresh_one()
    {
        GenerationRequest[] requests = Requests();
        await using EngineHost host = await EngineHost.StartAsync();
        List<EngineHost.Result> first = [];
        List<EngineHost.Result> again = [];
        foreach (GenerationRequest request in requests)
        {
            first.Add(await host.GenerateAsync(request));
            again.Add(await host.GenerateAsync(request));
        }

        AssertSame(first, again);
        Assert.All(first.Zip(requests), pair => Assert.Equal(0, pair.First.Usage!.CachedTokens));

        // All whole blocks of 8 but what leaves one token to compute.
        Assert.All(again, result => Assert.Equal((result.Usage!.PromptTokens - 1) / 8 * 8, result.Usage.CachedTokens));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Preempted_equals_not_preempted(bool prefixCaching)
    {
        GenerationRequest[] requests = Requests();
        List<EngineHost.Result> alone = await OneByOneAsync(requests);
        await using EngineHost host = await EngineHost.StartAsync(new EngineHostOptions
        {
            KvBlocks = 24,
            Scheduler = new SchedulerOptions { MaxBatchTokens = 64, MaxRunningSequences = 16, KvBlockSize = 8, PrefixCaching = prefixCaching },
        });

        EngineHost.Result[] crowded = await Task.WhenAll(requests.Select(host.GenerateAsync));

        AssertSame(alone, crowded);
        Assert.True(host.Engine.Snapshot().Preemptions > 0, "the cache is small enough to preempt");
        Assert.Equal(0, host.Engine.Snapshot().KvBlocksUsed);
    }

    [Fact]
    public async Task The_same_seed_gives_the_same_tokens_and_another_one_others()
    {
        await using EngineHost host = await EngineHost.StartAsync();
        GenerationRequest request = EngineHost.Request(s_prompts[0], 30) with
        {
            Sampling = new SamplingParameters { Temperature = 1.2f, Seed = 5 },
        };

        EngineHost.Result first = await host.GenerateAsync(request);
        EngineHost.Result second = await host.GenerateAsync(request);
        EngineHost.Result other = await host.GenerateAsync(request with { Sampling = request.Sampling with { Seed = 6 } });

        first.AssertSame(second);
        Assert.NotEqual(first.Tokens, other.Tokens);
    }

    private static GenerationRequest[] Requests()
    {
        AdapterReference[][] stacks =
        [
            [],
            [new("lora-0")],
            [new("lora-1")],
            [new("lora-2"), new("lora-3", 0.5f)],
            [new("lora-1", -0.7f)],
            [new("routed-5")],
            [new("lora-3"), new("routed-5", 0.5f)],
        ];
        List<GenerationRequest> requests = [];
        for (int i = 0; i < 20; i++)
        {
            GenerationRequest request = EngineHost.Request(s_prompts[i % 5], 16 + i, stacks[(i / 2) % stacks.Length]);
            requests.Add(i % 3 == 0
                ? request with { Sampling = new SamplingParameters { Temperature = 0.9f, TopP = 0.95f, TopK = 40, Seed = (ulong)i, RepetitionPenalty = 1.1f } }
                : request);
        }

        return [.. requests.DistinctBy(request => (request.Prompt, request.Adapters))];
    }

    private static async Task<List<EngineHost.Result>> OneByOneAsync(GenerationRequest[] requests)
    {
        // Without a prefix cache, so that every request is computed from its first token.
        await using EngineHost host = await EngineHost.StartAsync(new EngineHostOptions
        {
            Scheduler = new SchedulerOptions { MaxBatchTokens = 128, MaxRunningSequences = 16, KvBlockSize = 8, PrefixCaching = false },
        });
        List<EngineHost.Result> results = [];
        foreach (GenerationRequest request in requests)
        {
            results.Add(await host.GenerateAsync(request));
        }

        return results;
    }

    private static void AssertSame(List<EngineHost.Result> expected, IReadOnlyList<EngineHost.Result> actual)
    {
        Assert.Equal(expected.Count, actual.Count);
        for (int i = 0; i < expected.Count; i++)
        {
            actual[i].AssertSame(expected[i]);
        }
    }
}
