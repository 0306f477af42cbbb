using InferenceServer.Tensors;
using InferenceServer.TestKit.ReferenceMaths;
using Xunit;

namespace InferenceServer.TestKit.Conformance.Training;

/// <summary>Operations on single elements: activations, scales, dropout, the optimiser.</summary>
public abstract class ElementTrainingConformance : TrainingConformance
{
    [Theory]
    [InlineData(Activation.Silu)]
    [InlineData(Activation.GeluTanh)]
    [InlineData(Activation.Gelu)]
    [InlineData(Activation.Relu)]
    public void Activations_gated_and_alone(Activation activation)
    {
        // Away from 0, where relu has a kink that no finite difference may cross.
        HostTensor x = HostTensor.Random(5, 38, 1, 3);
        for (int i = 0; i < x.Values.Length; i++)
        {
            x.Values[i] += MathF.CopySign(0.05f, x.Values[i]);
        }

        HostTensor dy = HostTensor.Random(5, 19, 2);
        HostTensor old = HostTensor.Random(5, 38, 3);
        HostTensor weights = HostTensor.Random(5, 38, 4);
        using GuardedTensor input = Put(x);
        using GuardedTensor gradient = Put(dy);
        using GuardedTensor dx = Put(old);
        using GuardedTensor alone = Put(weights);

        Training.GatedActivationBackward(input.View, activation, gradient.View, dx.View);
        Training.ActivationBackward(input.View, activation, alone.View);

        FiniteDifferences.AssertGradient("gated", x, Added(old, dx), moved => FiniteDifferences.Weighted(
            [.. Enumerable.Range(0, 95).Select(i => Reference.Activate(activation, moved[(i / 19 * 38) + (i % 19)]) * moved[(i / 19 * 38) + 19 + (i % 19)])],
            dy));
        FiniteDifferences.AssertGradient("alone", x, alone.Read(), moved => FiniteDifferences.Weighted(
            [.. moved.Select(value => Reference.Activate(activation, value))], weights));
    }

    [Fact]
    public void Soft_cap()
    {
        HostTensor x = HostTensor.Random(4, 21, 1, 6);
        HostTensor y = new(4, 21);
        x.Values.Select(value => (float)(3 * Math.Tanh(value / 3.0))).ToArray().CopyTo(y.Values, 0);
        HostTensor weights = HostTensor.Random(4, 21, 2);
        using GuardedTensor output = Put(y);
        using GuardedTensor gradient = Put(weights);

        Training.SoftCapBackward(output.View, 3f, gradient.View);

        FiniteDifferences.AssertGradient("dx", x, gradient.Read(), moved => FiniteDifferences.Weighted(
            [.. moved.Select(value => 3 * Math.Tanh(value / 3))], weights));
    }

    [Theory]
    [InlineData(1, 1)]
    [InlineData(7, 131)]
    [InlineData(3, 1030)]
    public void Copies_zeros_sums_and_column_scales(int rows, int columns)
    {
        HostTensor x = HostTensor.Random(rows, columns, 1);
        HostTensor old = HostTensor.Random(rows, columns, 2);
        HostTensor factors = HostTensor.Random(1, columns, 3);
        using GuardedTensor input = Put(x);
        using GuardedTensor row = Put(factors);
        using GuardedTensor y = Put(old);
        using GuardedTensor kept = Put(old);

        Training.AddScaled(-0.25f, input.View, y.View);
        Closeness.AssertClose([.. old.Values.Zip(x.Values, (before, value) => before - (0.25 * value))], y.Read(), 1e-7, "add scaled");
        Training.Copy(input.View, y.View);
        Closeness.AssertSameBits(x.Values, y.Read(), "copy");
        Training.Clear(y.View);
        Closeness.AssertSameBits(new float[x.Values.Length], y.Read(), "clear");
        Training.ScaleColumns(input.View, row.View, y.View, add: false);
        Closeness.AssertSameBits([.. x.Values.Select((value, i) => value * factors.Values[i % columns])], y.Read(), "scale");
        Training.ScaleColumns(input.View, row.View, kept.View, add: true);
        double[] added = [.. x.Values.Select((value, i) => old.Values[i] + ((double)value * factors.Values[i % columns]))];
        Closeness.AssertClose(added, kept.Read(), 1e-7, "scale, added");
        Training.ScaleColumns(input.View, row.View, input.View, add: false);
        Closeness.AssertSameBits(y.Read(), input.Read(), "in place");
    }

    [Fact]
    public void A_dense_matrix_is_treated_as_its_rows_are()
    {
        float[] values = HostTensor.Random(33, 65, 1).Values;
        using DeviceBuffer x = Upload(Backend, values);
        using DeviceBuffer y = Upload(Backend, values);
        TensorView dense = new(x, 33, 65);
        TensorView target = new(y, 33, 65);
        float[] result = new float[values.Length];

        Training.AddScaled(1f, dense, target);
        Backend.Read(target, result);
        Closeness.AssertSameBits([.. values.Select(value => value + value)], result, "add scaled");
        Training.Clear(target.SliceRows(1, 31));
        Backend.Read(target, result);
        Closeness.AssertSameBits(
            [.. values.Select((value, i) => i / 65 is >= 1 and < 32 ? 0 : value + value)], result, "clear");
    }

    [Theory]
    [InlineData(0f)]
    [InlineData(0.25f)]
    public void Dropout_drops_the_same_elements_everywhere_and_on_the_way_back(float rate)
    {
        const ulong Seed = ulong.MaxValue - 5;
        HostTensor x = HostTensor.Random(40, 57, 1);
        HostTensor old = HostTensor.Random(40, 57, 2);
        using GuardedTensor input = Put(x);
        using GuardedTensor output = new(Backend, 40, 57);
        using GuardedTensor gradient = Put(old);

        Training.Dropout(input.View, rate, Seed, output.View, add: false);
        Training.Dropout(input.View, rate, Seed, gradient.View, add: true);

        float factor = 1 / (1 - rate);
        float[] expected = [.. x.Values.Select((value, i) => IsKept(Seed, i, rate) ? value * factor : 0)];
        Assert.Equal(rate, expected.Count(value => value == 0) / (double)expected.Length, 0.03);
        Closeness.AssertSameBits(expected, output.Read(), "dropped");
        Closeness.AssertSameBits([.. old.Values.Zip(expected, (before, value) => before + value)], gradient.Read(), "added");
        Training.Dropout(input.View, rate, Seed, input.View, add: false);
        Closeness.AssertSameBits(expected, input.Read(), "in place");
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Adam_follows_its_formula(bool shrinkAfter)
    {
        AdamStep step = new(0.5f, 0.9f, 0.99f, 0.01f, 0.3f, 1e-3f, 0.95f, shrinkAfter);
        (float[] g, float[] m, float[] w) = (
            HostTensor.Random(3, 537, 1).Values, HostTensor.Random(3, 537, 2).Values, HostTensor.Random(3, 537, 3).Values);
        using DeviceBuffer gradient = Upload(Backend, g);
        using DeviceBuffer first = Upload(Backend, m);
        using DeviceBuffer second = Upload(Backend, new float[g.Length]);
        using DeviceBuffer value = Upload(Backend, w);

        Training.Adam(step, View(gradient), View(first), View(second), View(value));

        double[] mean = [.. g.Zip(m, (slope, before) => (0.9 * before) + (0.1 * 0.5 * slope))];
        double[] square = [.. g.Select(slope => 0.01 * 0.25 * slope * slope)];
        double[] expected = new double[g.Length];
        for (int i = 0; i < g.Length; i++)
        {
            double change = 0.01 * mean[i] / ((Math.Sqrt(square[i]) / 0.3) + 1e-3);
            expected[i] = shrinkAfter ? (w[i] - change) * 0.95 : (w[i] * 0.95) - change;
        }

        Closeness.AssertClose(mean, Read(first), 2e-7, "mean");
        Closeness.AssertClose(square, Read(second), 2e-6, "mean square");
        Closeness.AssertClose(expected, Read(value), 2e-7, "value");

        static TensorView View(DeviceBuffer buffer) => new(buffer, 3, 537);
        float[] Read(DeviceBuffer buffer)
        {
            float[] values = new float[3 * 537];
            Backend.Read(View(buffer), values);
            return values;
        }
    }

    [Fact]
    public void Views_that_do_not_fit_are_refused()
    {
        using GuardedTensor x = new(Backend, 2, 6);
        using GuardedTensor y = new(Backend, 2, 3);

        Assert.Throws<ArgumentException>(() => Training.Copy(x.View, y.View));
        Assert.Throws<ArgumentException>(() => Training.ScaleColumns(x.View, y.View, x.View, add: false));
        Assert.Throws<ArgumentException>(() => Training.GatedActivationBackward(y.View, Activation.Silu, x.View, y.View));
        Assert.Throws<ArgumentException>(() => Training.Dropout(x.View, 1f, 1, x.View, add: false));
        Assert.Throws<ArgumentException>(() => Training.Multiply(1f, x.View, y.View, y.View, add: false));
        Assert.Throws<ArgumentException>(() => Training.Adam(default, x.View, x.View, x.View, x.View));
    }

    // SplitMix64 of the seed and the element's number, by its upper half.
    private static bool IsKept(ulong seed, int element, float rate)
    {
        ulong value = unchecked((seed + (ulong)element) * 0x9E3779B97F4A7C15);
        value = unchecked((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9);
        value = unchecked((value ^ (value >> 27)) * 0x94D049BB133111EB);
        return (uint)((value ^ (value >> 31)) >> 32) >= (uint)(rate * (double)uint.MaxValue);
    }
}
