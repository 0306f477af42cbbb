using InferenceServer.Tensors;
using InferenceServer.TestKit.ReferenceMaths;
using Xunit;

namespace InferenceServer.TestKit.Conformance.Training;

/// <summary>Operations that give a number: the loss, and lengths.</summary>
public abstract class LossTrainingConformance : TrainingConformance
{
    [Theory]
    [InlineData(1)]
    [InlineData(41)]
    [InlineData(3001)]
    public void Cross_entropy_is_the_sum_over_labelled_rows_and_leaves_the_others_out(int vocabulary)
    {
        const float Factor = 1 / 3f;
        int[] labels = [vocabulary / 2, ITrainingBackend.IgnoredLabel, 0, vocabulary - 1, ITrainingBackend.IgnoredLabel];
        HostTensor logits = HostTensor.Random(5, vocabulary, 1, 4);
        using GuardedTensor input = Put(logits);
        using GuardedTensor gradient = new(Backend, 5, vocabulary);

        double loss = Training.CrossEntropy(input.View, labels, Factor, gradient.View);

        double Loss(double[] values) => Enumerable.Range(0, 5).Where(row => labels[row] >= 0).Sum(row =>
        {
            double[] one = values[(row * vocabulary)..((row + 1) * vocabulary)];
            return Math.Log(one.Sum(Math.Exp)) - one[labels[row]];
        });
        Assert.Equal(Loss(logits.Wide()), loss, 1e-5);
        float[] read = gradient.Read();
        Assert.All(read[vocabulary..(2 * vocabulary)].Concat(read[(4 * vocabulary)..]), value => Assert.Equal(0f, value));
        FiniteDifferences.AssertGradient("dlogits", logits, read, values => Loss(values) * Factor, 1e-6);
        Assert.Equal(loss, Training.CrossEntropy(input.View, labels, Factor, input.View));
        Closeness.AssertSameBits(read, input.Read(), "in place");
    }

    [Fact]
    public void Cross_entropy_of_huge_logits_is_finite()
    {
        using GuardedTensor logits = Put(HostTensor.Random(2, 5, 1, 1e4f));
        using GuardedTensor gradient = new(Backend, 2, 5);

        double loss = Training.CrossEntropy(logits.View, [0, 4], 0.5f, gradient.View);

        Assert.True(double.IsFinite(loss));
        Assert.All(gradient.Read(), value => Assert.True(float.IsFinite(value)));
    }

    [Fact]
    public void Labels_outside_the_vocabulary_are_refused()
    {
        using GuardedTensor logits = new(Backend, 2, 5);

        Assert.Throws<ArgumentException>(() => Training.CrossEntropy(logits.View, [0, 5], 1f, logits.View));
        Assert.Throws<ArgumentException>(() => Training.CrossEntropy(logits.View, [0, -1], 1f, logits.View));
        Assert.Throws<ArgumentException>(() => Training.CrossEntropy(logits.View, [0], 1f, logits.View));
    }

    [Fact]
    public void No_rows_have_no_loss_and_no_length()
    {
        using GuardedTensor none = new(Backend, 0, 5);

        Assert.Equal(0, Training.CrossEntropy(none.View, [], 1f, none.View));
        Assert.Equal(0, Training.SumOfSquares([none.View]));
        Assert.Equal(0, Training.SumOfSquares([]));
    }

    [Theory]
    [InlineData(1, 1)]
    [InlineData(5, 1030)]
    [InlineData(300, 41)]
    public void Squares_are_summed(int rows, int columns)
    {
        HostTensor x = HostTensor.Random(rows, columns, 1);
        using GuardedTensor input = Put(x);
        using DeviceBuffer dense = Upload(Backend, x.Values);
        double expected = x.Values.Sum(value => (double)value * value);

        TensorView flat = new(dense, rows, columns);
        using GuardedTensor none = new(Backend, 0, columns);
        Assert.Equal(1, Training.SumOfSquares([input.View]) / expected, 1e-6);
        Assert.Equal(1, Training.SumOfSquares([flat]) / expected, 1e-6);
        Assert.Equal(2, Training.SumOfSquares([flat, none.View, input.View]) / expected, 1e-6);
    }
}
