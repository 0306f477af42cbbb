using InferenceServer.Cpu.Adapters;
using InferenceServer.Cpu.Memory;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Adapters;
using Xunit;

namespace InferenceServer.KernelTests.Cpu;

public sealed unsafe class AdapterBlocksTests
{
    private const int Columns = 40_000;
    private const int Rank = 32;

    [Fact]
    public void An_adapter_that_goes_leaves_its_block_to_the_next_one_and_only_to_one()
    {
        using AdapterBlocks blocks = new();
        CpuAdapter adapter = AdapterPacker.Pack(Weights(), WeightFormat.BF16, blocks);
        nint pointer = (nint)adapter.Part(0)!.A;

        adapter.Dispose();
        adapter.Dispose();
        using CpuAdapter second = AdapterPacker.Pack(Weights(), WeightFormat.BF16, blocks);
        using CpuAdapter third = AdapterPacker.Pack(Weights(), WeightFormat.BF16, blocks);

        Assert.Equal(pointer, (nint)second.Part(0)!.A);
        Assert.NotEqual(pointer, (nint)third.Part(0)!.A);
        Assert.Equal(second.ByteCount, adapter.ByteCount);
    }

    [Fact]
    public void A_block_with_other_things_in_it_packs_to_the_same_bytes()
    {
        using AdapterBlocks blocks = new();
        AdapterWeights weights = Weights();
        using CpuAdapter fresh = AdapterPacker.Pack(weights, WeightFormat.BF16, blocks);
        NativeBlock kept = blocks.Rent(fresh.ByteCount, "kept");
        new Span<byte>(kept.Pointer, (int)kept.ByteCount).Fill(0xee);
        nint pointer = (nint)kept.Pointer;
        blocks.Return(kept);

        using CpuAdapter reused = AdapterPacker.Pack(weights, WeightFormat.BF16, blocks);

        Assert.Equal(pointer, (nint)reused.Part(0)!.A);
        Assert.True(new Span<byte>(fresh.Part(0)!.A, (int)fresh.ByteCount).SequenceEqual(new Span<byte>(reused.Part(0)!.A, (int)reused.ByteCount)));
    }

    private static AdapterWeights Weights()
    {
        Random random = new(5);
        float[] Values(int count) => [.. Enumerable.Range(0, count).Select(_ => random.NextSingle() - 0.5f)];
        return new AdapterWeights(
            "a@1",
            [new LowRankDelta { A = new HostMatrix(Rank, Columns, Values(Rank * Columns)), B = new HostMatrix(5, Rank, Values(5 * Rank)) }]);
    }
}
