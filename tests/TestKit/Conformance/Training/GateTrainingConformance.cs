using InferenceServer.TestKit.ReferenceMaths;
using Xunit;

namespace InferenceServer.TestKit.Conformance.Training;

/// <summary>The operations of a router.</summary>
public abstract class GateTrainingConformance : TrainingConformance
{
    [Theory]
    [InlineData(1, 1, 1, 1f, false)]
    [InlineData(3, 2, 2, 1f, true)]
    [InlineData(7, 5, 5, 0.5f, true)]
    [InlineData(7, 5, 2, 2f, true)]
    [InlineData(9, 64, 3, 1f, false)]
    [InlineData(11, 40, 40, 1f, true)]
    public void The_softmax_of_a_gate(int rows, int blocks, int topK, float temperature, bool biased)
    {
        HostTensor x = Apart(rows, blocks);
        HostTensor bias = HostTensor.Random(1, blocks, 2, 0.05f);
        HostTensor dy = HostTensor.Random(rows, blocks, 3);
        using GuardedTensor scores = Put(x);
        using GuardedTensor added = Put(bias);
        using GuardedTensor y = new(Backend, rows, blocks);
        using GuardedTensor gradient = Put(dy);
        using GuardedTensor dx = new(Backend, rows, blocks);

        Training.GateSoftmax(scores.View, biased ? added.View : null, temperature, topK, y.View);
        Training.GateSoftmaxBackward(y.View, temperature, gradient.View, dx.View);

        double[] Weights(double[] values)
        {
            double[] weights = new double[values.Length];
            for (int row = 0; row < rows; row++)
            {
                double[] one = [.. values.Skip(row * blocks).Take(blocks).Select((value, i) => (value + (biased ? bias[0, i] : 0)) / temperature)];
                double least = one.OrderDescending().ElementAt(topK - 1);
                double sum = one.Where(score => score >= least).Sum(Math.Exp);
                for (int i = 0; i < blocks; i++)
                {
                    weights[(row * blocks) + i] = one[i] >= least ? Math.Exp(one[i]) / sum : 0;
                }
            }

            return weights;
        }

        float[] weights = y.Read();
        Closeness.AssertClose(Weights(x.Wide()), weights, 1e-6, "weights");
        Assert.Equal(rows * topK, weights.Count(weight => weight > 0));
        float[] apart = dx.Read();
        FiniteDifferences.AssertGradient("dx", x, apart, values => FiniteDifferences.Weighted(Weights(values), dy));
        Training.GateSoftmaxBackward(y.View, temperature, gradient.View, gradient.View);
        Closeness.AssertSameBits(apart, gradient.Read(), "backward in place");
        Training.GateSoftmax(scores.View, biased ? added.View : null, temperature, topK, scores.View);
        Closeness.AssertSameBits(weights, scores.Read(), "in place");
    }

    [Fact]
    public void Of_equal_scores_the_first_take_part()
    {
        using GuardedTensor x = Put(new HostTensor(1, 40));
        using GuardedTensor y = new(Backend, 1, 40);

        Training.GateSoftmax(x.View, null, 1f, 35, y.View);

        Assert.Equal(Enumerable.Range(0, 40).Select(i => i < 35 ? 1 / 35f : 0), y.Read());
    }

    [Theory]
    [InlineData(1, new[] { 1 })]
    [InlineData(3, new[] { 2, 0, 5 })]
    [InlineData(17, new[] { 8, 16, 33 })]
    [InlineData(2, new[] { 0, 1000, 1, 65, 0 })]
    public void Blocks_are_scaled_and_give_their_factors_the_products(int rows, int[] sizes)
    {
        int columns = sizes.Sum();
        int[] blockOf = [.. sizes.SelectMany((size, block) => Enumerable.Repeat(block, size))];
        HostTensor x = HostTensor.Random(rows, columns, 1);
        HostTensor factors = HostTensor.Random(rows, sizes.Length, 2);
        HostTensor z = HostTensor.Random(rows, columns, 3);
        using GuardedTensor input = Put(x);
        using GuardedTensor weights = Put(factors);
        using GuardedTensor other = Put(z);
        using GuardedTensor y = new(Backend, rows, columns);
        using GuardedTensor products = new(Backend, rows, sizes.Length);

        Training.ScaleBlocks(input.View, weights.View, sizes, y.View);
        Training.BlockProducts(input.View, other.View, sizes, products.View);

        float[] scaled = [.. x.Values.Select((value, i) => value * factors[i / columns, blockOf[i % columns]])];
        double[] sums = new double[rows * sizes.Length];
        for (int i = 0; i < x.Values.Length; i++)
        {
            sums[(i / columns * sizes.Length) + blockOf[i % columns]] += (double)x.Values[i] * z.Values[i];
        }

        Closeness.AssertSameBits(scaled, y.Read(), "scaled");
        Closeness.AssertClose(sums, products.Read(), 1e-6, "products");
        Training.ScaleBlocks(input.View, weights.View, sizes, input.View);
        Closeness.AssertSameBits(scaled, input.Read(), "in place");
    }

    [Fact]
    public void Views_that_do_not_fit_are_refused()
    {
        using GuardedTensor two = Put(HostTensor.Random(2, 2, 1));
        using GuardedTensor five = Put(HostTensor.Random(2, 5, 1));
        using GuardedTensor wide = Put(HostTensor.Random(1, 65, 1));

        Assert.Throws<ArgumentException>(() => Training.ScaleBlocks(five.View, two.View, [2, 2], five.View));
        Assert.Throws<ArgumentException>(() => Training.ScaleBlocks(five.View, two.View, [6, -1], five.View));
        Assert.Throws<ArgumentException>(() => Training.BlockProducts(five.View, five.View, [1, 1, 3], two.View));
        Assert.Throws<ArgumentException>(() => Training.GateSoftmax(five.View, null, 1f, 0, five.View));
        Assert.Throws<ArgumentException>(() => Training.GateSoftmax(five.View, null, 1f, 6, five.View));
        Assert.Throws<ArgumentException>(() => Training.GateSoftmax(five.View, two.View, 1f, 1, five.View));
        Assert.Throws<ArgumentException>(() => Training.GateSoftmaxBackward(two.View, 1f, five.View, five.View));
        Assert.Throws<ArgumentException>(() => Training.GateSoftmax(wide.View, null, 1f, 1, wide.View));
    }

    // Scores so far apart that neither the bias nor a step of the differences changes which are the largest.
    private static HostTensor Apart(int rows, int columns)
    {
        HostTensor x = new(rows, columns);
        Random random = new(1);
        for (int row = 0; row < rows; row++)
        {
            int[] order = [.. Enumerable.Range(0, columns).OrderBy(_ => random.Next())];
            for (int column = 0; column < columns; column++)
            {
                x[row, column] = (order[column] * 0.3f) - 1;
            }
        }

        return x;
    }
}
