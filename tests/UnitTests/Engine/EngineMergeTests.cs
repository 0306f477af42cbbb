using InferenceServer.AdapterStore;
using InferenceServer.Cpu;
using InferenceServer.Engine.Errors;
using InferenceServer.Engine.Merging;
using InferenceServer.Engine.Requests;
using InferenceServer.Engine.Streaming;
using InferenceServer.Models.Merging;
using InferenceServer.Tensors;
using Xunit;

namespace InferenceServer.UnitTests.Engine;

public sealed class EngineMergeTests
{
    private static readonly AdapterId s_hot = EngineHost.Id("lora-1");

    private static readonly GenerationRequest[] s_requests =
    [
        EngineHost.Request("The merged tenant", 30, new AdapterReference("lora-1")),
        EngineHost.Request("The base model", 30),
        EngineHost.Request("Another tenant", 30, new AdapterReference("lora-0")),
        EngineHost.Request("The merged one at half its weight", 30, new AdapterReference("lora-1", 0.5f)),
        EngineHost.Request("A stack with the merged one", 30, new("lora-1"), new("lora-2", 0.5f)),
        EngineHost.Request("A routed tenant", 30, new AdapterReference("routed-5")),
        EngineHost.Request("A routed tenant on the merged one", 30, new("lora-1"), new("routed-5", 0.5f)),
    ];

    [Fact]
    public async Task Every_tenant_stays_correct_while_one_is_merged_and_exact_afterwards()
    {
        await using EngineHost host = await EngineHost.StartAsync();
        EngineHost.Result[] before = await AllAsync(host);

        MergedAdapter merged = await host.Engine.MergeAsync(s_hot);
        EngineHost.Result[] during = await AllAsync(host);

        Assert.Equal(s_hot, merged.Id);
        Assert.Equal(14, merged.ModuleCount);
        Assert.Equal(merged, host.Engine.Snapshot().Merged);
        AssertClose(before, during);

        await host.Engine.UnmergeAsync();
        EngineHost.Result[] after = await AllAsync(host);

        Assert.Null(host.Engine.MergedAdapter);
        for (int i = 0; i < before.Length; i++)
        {
            after[i].AssertSame(before[i]);
        }
    }

    [Theory]
    [InlineData(WeightFormat.F32, WeightFormat.F32, 1e-4f)]
    [InlineData(WeightFormat.BF16, WeightFormat.F32, 1f)]
    [InlineData(WeightFormat.Int8, WeightFormat.F32, 1f)]
    [InlineData(WeightFormat.NF4, WeightFormat.BF16, 1f)]
    public async Task A_merge_says_how_far_it_moves_logits(WeightFormat weights, WeightFormat merged, float most)
    {
        await using EngineHost host = await EngineHost.StartAsync(new EngineHostOptions { Weights = weights, Merge = new MergeOptions { Format = merged } });

        LogitChange change = (await host.Engine.MergeAsync(s_hot)).LogitChange!;

        // In f32 only the order of the sums changes; what else does is the rounding of folded weights and of activations beside packed ones.
        Assert.InRange(change.Tenant, float.Epsilon, most);
        Assert.InRange(change.Others, float.Epsilon, most);
        Assert.InRange(change.Largest, 0.5f, 100f);
        Assert.Equal(change, host.Engine.MergedAdapter!.LogitChange);
    }

    [Theory]
    [InlineData(CpuProducts.Vectors, WeightFormat.BF16, 4)]
    [InlineData(CpuProducts.Vectors, WeightFormat.NF4, 4)]
    [InlineData(CpuProducts.Dots, WeightFormat.F32, 4)]
    [InlineData(CpuProducts.Dots, WeightFormat.BF16, 2)]
    [InlineData(CpuProducts.Dots, WeightFormat.Int8, 4)]
    [InlineData(CpuProducts.Dots, WeightFormat.NF4, 2)]
    public async Task Folded_weights_are_kept_as_exactly_as_the_products_are_that_read_them(CpuProducts products, WeightFormat weights, int bytesPerWeight)
    {
        try
        {
            new CpuBackend(new CpuOptions { ThreadCount = 1, Products = products }).Dispose();
        }
        catch (ArgumentException)
        {
            // A machine without these instructions.
            return;
        }

        await using EngineHost host = await EngineHost.StartAsync(new EngineHostOptions { Weights = weights, Products = products });
        await using EngineHost chosen = await EngineHost.StartAsync(new EngineHostOptions
        {
            Weights = weights,
            Products = products,
            Merge = new MergeOptions { Format = bytesPerWeight == 2 ? WeightFormat.BF16 : WeightFormat.F32 },
        });

        MergedAdapter merged = await host.Engine.MergeAsync(s_hot);

        Assert.Equal((await chosen.Engine.MergeAsync(s_hot)).ExtraBytes, merged.ExtraBytes);
    }

    [Fact]
    public async Task The_change_that_is_reported_is_that_of_the_model_itself()
    {
        // By vectors: where products round x, that moves logits as much as anything that is done to folded weights.
        EngineHostOptions options = new() { Weights = WeightFormat.NF4, Products = CpuProducts.Vectors, Merge = new MergeOptions { Format = WeightFormat.BF16 } };
        await using EngineHost host = await EngineHost.StartAsync(options);
        EngineHost.Result[] before = await AllAsync(host);

        LogitChange rough = (await host.Engine.MergeAsync(s_hot)).LogitChange!;
        EngineHost.Result[] during = await AllAsync(host);
        await host.Engine.UnmergeAsync();
        await using EngineHost exact = await EngineHost.StartAsync(options with { Merge = new MergeOptions { Format = WeightFormat.F32 } });
        LogitChange fine = (await exact.Engine.MergeAsync(s_hot)).LogitChange!;

        // Rounding each folded weight to bf16 moves more than keeping it in f32, and what the probe says bounds what requests see, roughly.
        Assert.True(fine.Others < rough.Others, $"{fine.Others} in f32, {rough.Others} in bf16");
        float seen = before.Zip(during).Max(pair => Math.Abs(pair.First.Logprobs[0] - pair.Second.Logprobs[0]));
        Assert.InRange(seen, 0f, 4 * Math.Max(rough.Tenant, rough.Others));
    }

    [Fact]
    public async Task A_merge_that_cannot_be_measured_is_done_all_the_same()
    {
        await using EngineHost host = await EngineHost.StartAsync();
        host.OnProbe = () => throw new InsufficientMemoryException("no memory for 'probe'");

        MergedAdapter merged = await host.Engine.MergeAsync(s_hot);

        Assert.Null(merged.LogitChange);
        Assert.Equal(s_hot, host.Engine.MergedAdapter!.Id);
    }

    [Fact]
    public async Task Weights_are_the_same_bits_after_an_unmerge()
    {
        await using EngineHost host = await EngineHost.StartAsync(new EngineHostOptions { Weights = WeightFormat.BF16 });
        ModuleShape module = host.Transformer.Shape.Find("model.layers.1.mlp.down_proj")!;
        WeightMatrix original = host.Transformer.WeightInUse(module);
        float[] before = new float[original.Rows * original.Columns];
        host.Backend.ReadMatrix(original, 0, before);

        await host.Engine.MergeAsync(s_hot);
        Assert.NotSame(original, host.Transformer.WeightInUse(module));
        await host.Engine.UnmergeAsync();

        float[] after = new float[before.Length];
        host.Backend.ReadMatrix(host.Transformer.WeightInUse(module), 0, after);
        Assert.Same(original, host.Transformer.WeightInUse(module));
        Assert.Equal(before.Select(BitConverter.SingleToInt32Bits), after.Select(BitConverter.SingleToInt32Bits));
    }

    [Fact]
    public async Task Sequences_run_on_across_a_merge_and_an_unmerge()
    {
        GenerationRequest[] requests = [.. s_requests.Select(request => request with { Stopping = new StoppingCriteria { MaxTokens = 150, IgnoreEos = true } })];
        await using EngineHost host = await EngineHost.StartAsync();
        EngineHost.Result[] before = await Task.WhenAll(requests.Select(host.GenerateAsync));

        // The changes fall into the middle: each waits for tokens of the long requests first.
        GenerationStream[] streams = await Task.WhenAll(requests.Select(request => host.Engine.SubmitAsync(request)));
        Task<EngineHost.Result>[] reads = [.. streams.Select(EngineHost.ReadAsync)];
        await host.Engine.MergeAsync(s_hot);
        await host.Engine.UnmergeAsync();
        await host.Engine.MergeAsync(s_hot);
        EngineHost.Result[] across = await Task.WhenAll(reads).WaitAsync(EngineHost.Patience);
        foreach (GenerationStream stream in streams)
        {
            await stream.DisposeAsync();
        }

        AssertClose(before, across);
    }

    [Theory]
    [InlineData("matrix")]
    [InlineData("adapter")]
    [InlineData("weights")]
    public async Task A_merge_that_fails_half_way_leaves_the_base_as_it_was(string where)
    {
        await using EngineHost host = await EngineHost.StartAsync();
        EngineHost.Result[] before = await AllAsync(host);
        int calls = 0;
        switch (where)
        {
            case "matrix":
                host.Backend.OnCreateMatrix = _ => FailAtThird();
                break;
            case "adapter":
                host.Backend.OnCreateAdapter = label => Fail(label.StartsWith("inverse", StringComparison.Ordinal));
                break;
            default:
                host.Source.OnLoad = (_, _) => Fail(true);
                break;
        }

        await Assert.ThrowsAsync<IOException>(() => host.Engine.MergeAsync(s_hot));

        Assert.Null(host.Engine.MergedAdapter);
        EngineHost.Result[] after = await AllAsync(host);
        for (int i = 0; i < before.Length; i++)
        {
            after[i].AssertSame(before[i]);
        }

        host.Backend.OnCreateMatrix = null;
        host.Backend.OnCreateAdapter = null;
        host.Source.OnLoad = null;
        await host.Engine.MergeAsync(s_hot);

        void FailAtThird() => Fail(++calls == 3);

        static void Fail(bool now)
        {
            if (now)
            {
                throw new IOException("injected");
            }
        }
    }

    [Fact]
    public async Task A_second_merge_is_refused_and_the_merged_adapter_is_guarded()
    {
        await using EngineHost host = await EngineHost.StartAsync();
        MergedAdapter merged = await host.Engine.MergeAsync(s_hot);

        Assert.Same(merged, await host.Engine.MergeAsync(s_hot));
        await Assert.ThrowsAsync<MergeConflictException>(() => host.Engine.MergeAsync(EngineHost.Id("lora-0")));
        Assert.Throws<MergeConflictException>(() => host.Engine.ThrowIfMerged(s_hot));
        host.Engine.ThrowIfMerged(EngineHost.Id("lora-0"));

        await host.Engine.UnmergeAsync();
        host.Engine.ThrowIfMerged(s_hot);
        Assert.Null(await host.Engine.UnmergeAsync());
    }

    [Fact]
    public async Task A_routed_tenant_is_refused_by_name_and_goes_on_being_served()
    {
        await using EngineHost host = await EngineHost.StartAsync();
        GenerationRequest request = EngineHost.Request("A routed tenant", 30, new AdapterReference("routed-5"));
        EngineHost.Result before = await host.GenerateAsync(request);

        MergeException error = await Assert.ThrowsAsync<MergeException>(() => host.Engine.MergeAsync(EngineHost.Id("routed-5")));

        Assert.Contains("'routed-5@", error.Message, StringComparison.Ordinal);
        Assert.Contains("it is routed", error.Message, StringComparison.Ordinal);
        Assert.Null(host.Engine.MergedAdapter);
        (await host.GenerateAsync(request)).AssertSame(before);
    }

    [Fact]
    public async Task A_dominant_tenant_is_merged_automatically()
    {
        MergeOptions options = new() { Automatic = true, Window = TimeSpan.FromSeconds(1), MinimumTokens = 100, Cooldown = TimeSpan.Zero };
        await using EngineHost host = await EngineHost.StartAsync(new EngineHostOptions { Merge = options });
        using CancellationTokenSource timeout = new(EngineHost.Patience);

        while (host.Engine.MergedAdapter is null)
        {
            timeout.Token.ThrowIfCancellationRequested();
            await host.GenerateAsync(EngineHost.Request("Again and again", 60, new AdapterReference("lora-1")));
        }

        Assert.Equal(s_hot, host.Engine.MergedAdapter?.Id);
    }

    private static Task<EngineHost.Result[]> AllAsync(EngineHost host) =>
        Task.WhenAll(s_requests.Select(host.GenerateAsync)).WaitAsync(EngineHost.Patience);

    // In f32 a merge changes last bits only; greedy tokens of this model and seed are not that close to each other.
    private static void AssertClose(EngineHost.Result[] expected, EngineHost.Result[] actual)
    {
        for (int i = 0; i < expected.Length; i++)
        {
            Assert.Equal(expected[i].Tokens, actual[i].Tokens);
            Assert.All(expected[i].Logprobs.Zip(actual[i].Logprobs), pair => Assert.Equal(pair.First, pair.Second, 2e-3f));
        }
    }
}
