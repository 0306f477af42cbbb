using InferenceServer.Training;
using InferenceServer.Training.Data;
using Xunit;

namespace InferenceServer.UnitTests.Training.Data;

/// <summary>Every sample once an epoch, within the budgets, in an order that only the seed decides.</summary>
[Trait("Category", "Training")]
public sealed class BatchSourceTests
{
    private static readonly Dataset s_dataset = new([.. Enumerable.Range(0, 23).Select(number => Sample(number, 2 + (number % 7)))]);

    [Theory]
    [InlineData(8, 64)]
    [InlineData(20, 3)]
    [InlineData(1000, 1)]
    [InlineData(1000, 64)]
    public void An_epoch_gives_each_sample_once_within_both_budgets(int maxTokens, int maxSequences)
    {
        BatchSource source = new(s_dataset, maxTokens, maxSequences, seed: 4);
        List<int[]> epochs = [];
        for (int epoch = 0; epoch < 3; epoch++)
        {
            List<SupervisedBatch> batches = [];
            while (source.Position.Epoch == epoch)
            {
                batches.Add(source.Next());
            }

            Assert.All(batches, batch => Assert.True(batch.TokenCount <= maxTokens && batch.Sequences.Count <= maxSequences));
            epochs.Add([.. batches.SelectMany(batch => batch.Sequences).Select(sequence => sequence.Tokens[1])]);
            Assert.Equal(Enumerable.Range(0, 23), epochs[^1].Order());
        }

        Assert.NotEqual(epochs[0], epochs[1]);
        Assert.NotEqual(epochs[1], epochs[2]);
    }

    [Fact]
    public void The_seed_decides_the_order_and_without_one_it_is_the_sets_own()
    {
        Assert.Equal(Order(4), Order(4));
        Assert.NotEqual(Order(4), Order(5));
        Assert.Equal(Enumerable.Range(0, 23), Order(null));
    }

    [Fact]
    public void Known_seeds_give_known_orders_so_that_no_change_of_runtime_moves_a_run()
    {
        // From the same steps written in Python.
        Assert.Equal([4, 8, 7, 5, 2, 6, 1, 9, 3, 0], Permutation.Create(10, 3, 2));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(3)]
    [InlineData(7)]
    [InlineData(19)]
    public void Going_on_from_a_position_gives_the_same_batches(int taken)
    {
        BatchSource source = new(s_dataset, 20, 64, seed: 4);
        for (int i = 0; i < taken; i++)
        {
            source.Next();
        }

        BatchSource resumed = new(s_dataset, 20, 64, seed: 4) { Position = source.Position };

        for (int i = 0; i < 12; i++)
        {
            Assert.Equal(source.Next().Sequences, resumed.Next().Sequences);
        }
    }

    [Fact]
    public void What_fits_no_batch_and_positions_of_another_set_are_refused()
    {
        Assert.Contains(
            "8 tokens exceeds MaxBatchTokens 7",
            Assert.Throws<ArgumentException>(() => new BatchSource(s_dataset, 7, 64, seed: 4)).Message,
            StringComparison.Ordinal);
        Assert.Throws<ArgumentException>(() => new BatchSource(new Dataset([]), 7, 64, seed: 4));
        BatchSource source = new(s_dataset, 20, 64, seed: 4);
        Assert.Throws<ArgumentException>(() => source.Position = new DataPosition(0, source.EpochBatches));
        Assert.Throws<ArgumentException>(() => source.Position = new DataPosition(-1, 0));
    }

    private static IEnumerable<int> Order(int? seed) =>
        new BatchSource(s_dataset, 20, 64, seed).Batches.SelectMany(batch => batch.Sequences).Select(sequence => sequence.Tokens[1]);

    private static SupervisedSequence Sample(int number, int length)
    {
        int[] tokens = [1, number, .. Enumerable.Repeat(2, length - 2)];
        return new SupervisedSequence(tokens, tokens);
    }
}
