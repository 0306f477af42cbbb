using InferenceServer.Tensors;
using InferenceServer.Tensors.Steps;
using InferenceServer.TestKit.ReferenceMaths;
using Xunit;

namespace InferenceServer.TestKit.Conformance;

/// <summary>Operations on single elements and rows: activations, norms, rotary embedding, gathering.</summary>
public abstract class ElementConformance : BackendConformance
{
    // Around every vector width, a prime, and more than one work item of a row.
    private static readonly int[] s_widths = [1, 3, 4, 5, 8, 15, 16, 17, 31, 32, 33, 127, 9001];

    [Theory]
    [InlineData(Activation.Silu)]
    [InlineData(Activation.GeluTanh)]
    [InlineData(Activation.Gelu)]
    [InlineData(Activation.Relu)]
    public void Activations_are_the_reference(Activation activation)
    {
        // The error of gelu in its far left tail, where 1 + erf cancels, is small against x, not against the result.
        foreach (float range in new[] { 0.1f, 1f, 5f, 30f, 200f })
        {
            foreach (int columns in s_widths)
            {
                HostTensor x = HostTensor.Random(2, columns, columns, range);
                double[] expected = [.. x.Values.Select(value => Reference.Activate(activation, value))];
                double[] scale = [.. x.Values.Select(value => (double)Math.Abs(value))];

                float[] y = RunInPlace(Backend, x, view => Backend.Activate(activation, view));

                Closeness.AssertCloseByScale(expected, scale, y, 3e-7, $"{activation} of {columns} in {range}");
            }
        }
    }

    [Fact]
    public void Gated_activations_multiply_the_two_halves_of_a_row()
    {
        foreach (int columns in s_widths)
        {
            HostTensor x = HostTensor.Random(3, 2 * columns, columns, 4);
            double[] expected = new double[3 * columns];
            for (int i = 0; i < expected.Length; i++)
            {
                expected[i] = Reference.Activate(Activation.Silu, x[i / columns, i % columns]) * x[i / columns, columns + (i % columns)];
            }

            float[] y = Run(Backend, x, 3, columns, (input, output) => Backend.GatedActivation(input, Activation.Silu, output));

            Closeness.AssertClose(expected, y, 2e-7, $"gated silu of {columns}");
        }
    }

    [Fact]
    public void Scale_add_bias_and_soft_cap_are_the_reference()
    {
        foreach (int columns in s_widths)
        {
            HostTensor x = HostTensor.Random(3, columns, columns, 40);
            HostTensor other = HostTensor.Random(3, columns, columns + 1);
            using GuardedTensor otherView = new(Backend, other);
            using DeviceBuffer bias = Upload(Backend, other.Values[..columns]);

            float[] scaled = RunInPlace(Backend, x, view => Backend.Scale(0.3f, view));
            float[] added = RunInPlace(Backend, x, view => Backend.Add(otherView.View, view));
            float[] biased = RunInPlace(Backend, x, view => Backend.AddBias(bias, view));
            float[] capped = RunInPlace(Backend, x, view => Backend.SoftCap(30, view));

            Closeness.AssertSameBits([.. x.Values.Select(value => value * 0.3f)], scaled, "scale");
            Closeness.AssertSameBits([.. x.Values.Zip(other.Values, (a, b) => a + b)], added, "add");
            Closeness.AssertSameBits([.. x.Values.Select((value, i) => value + other.Values[i % columns])], biased, "bias");
            Closeness.AssertClose([.. x.Values.Select(value => 30 * Math.Tanh(value / 30.0))], capped, 2e-7, "soft cap");
        }
    }

    [Theory]
    [InlineData(0f)]
    [InlineData(1f)]
    public void Rms_norm_is_the_reference_also_in_place(float offset)
    {
        foreach (int columns in s_widths)
        {
            HostTensor x = HostTensor.Random(5, columns, columns, 3);
            float[] weight = HostTensor.Random(1, columns, 9).Values;
            using DeviceBuffer buffer = Upload(Backend, weight);

            float[] apart = Run(Backend, x, 5, columns, (input, output) => Backend.RmsNorm(input, buffer, offset, 1e-5f, output));
            float[] inPlace = RunInPlace(Backend, x, view => Backend.RmsNorm(view, buffer, offset, 1e-5f, view));

            Closeness.AssertClose(Reference.RmsNorm(x, weight, offset, 1e-5f), apart, 5e-7, $"rms norm of {columns}");
            Closeness.AssertSameBits(apart, inPlace, "in place");
        }
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Layer_norm_is_the_reference_also_in_place(bool biased)
    {
        foreach (int columns in s_widths.Where(width => width > 1))
        {
            HostTensor x = HostTensor.Random(5, columns, columns, 3);
            float[] weight = HostTensor.Random(1, columns, 9).Values;
            float[]? bias = biased ? HostTensor.Random(1, columns, 10).Values : null;
            using DeviceBuffer weightBuffer = Upload(Backend, weight);
            using DeviceBuffer biasBuffer = Upload(Backend, bias ?? [0]);
            DeviceBuffer? given = biased ? biasBuffer : null;

            float[] apart = Run(Backend, x, 5, columns, (input, output) => Backend.LayerNorm(input, weightBuffer, given, 1e-5f, output));
            float[] inPlace = RunInPlace(Backend, x, view => Backend.LayerNorm(view, weightBuffer, given, 1e-5f, view));

            Closeness.AssertClose(Reference.LayerNorm(x, weight, bias, 1e-5f), apart, 1e-6, $"layer norm of {columns}");
            Closeness.AssertSameBits(apart, inPlace, "in place");
        }
    }

    [Theory]
    [InlineData(64, 64)]
    [InlineData(80, 32)]
    [InlineData(6, 2)]
    [InlineData(96, 70)]
    public void Rope_rotates_the_first_elements_of_each_head_by_the_position(int headSize, int rotarySize)
    {
        const int Positions = 50;
        HostTensor angles = HostTensor.Random(Positions, rotarySize / 2, 2, 3);
        using DeviceBuffer cos = Upload(Backend, [.. angles.Values.Select(MathF.Cos)]);
        using DeviceBuffer sin = Upload(Backend, [.. angles.Values.Select(MathF.Sin)]);
        HostTensor x = HostTensor.Random(7, 3 * headSize, 3);
        StepInputs step = new(16, 2);
        step.AddSequence(new int[3], 47, [0]);
        step.AddSequence(new int[4], 0, [1]);
        Backend.BeginStep(step);
        double[] expected = [.. x.Values.Select(value => (double)value)];
        for (int t = 0; t < 7; t++)
        {
            int position = t < 3 ? 47 + t : t - 3;
            for (int head = 0; head < 3; head++)
            {
                for (int i = 0; i < rotarySize / 2; i++)
                {
                    int at = (head * headSize) + i;
                    double c = MathF.Cos(angles[position, i]);
                    double s = MathF.Sin(angles[position, i]);
                    expected[(t * x.Columns) + at] = (x[t, at] * c) - (x[t, at + (rotarySize / 2)] * s);
                    expected[(t * x.Columns) + at + (rotarySize / 2)] = (x[t, at + (rotarySize / 2)] * c) + (x[t, at] * s);
                }
            }
        }

        float[] y = RunInPlace(Backend, x, view => Backend.Rope(new RopeTable(cos, sin, rotarySize, Positions), headSize, view));

        Closeness.AssertClose(expected, y, 1e-7, "rope");
    }

    [Theory]
    [InlineData(WeightFormat.F32)]
    [InlineData(WeightFormat.BF16)]
    [InlineData(WeightFormat.Int8)]
    [InlineData(WeightFormat.NF4)]
    public void Embeddings_positions_and_sampled_rows_are_gathered(WeightFormat format)
    {
        HostTensor table = HostTensor.Random(77, 35, 1);
        using WeightMatrix matrix = Pack(Backend, table, format);
        HostTensor kept = Kept(Backend, table, matrix);
        StepInputs step = new(16, 2);
        int[] tokens = [76, 0, 31, 32, 5];
        step.AddSequence(tokens, 70, [0]);
        step.AddSampledRow(1);
        step.AddSampledRow(4);
        Backend.BeginStep(step);
        using GuardedTensor y = new(Backend, 5, 35);
        using GuardedTensor sampled = new(Backend, 2, 35);

        Backend.Embed(matrix, y.View);
        Closeness.AssertSameBits([.. tokens.SelectMany(token => kept.Row(token).ToArray())], y.Read(), "embeddings");
        Backend.GatherSampledRows(y.View, sampled.View);
        Closeness.AssertSameBits([.. kept.Row(0), .. kept.Row(5)], sampled.Read(), "sampled rows");
        Backend.AddPositions(matrix, y.View);
        float[] withPositions = [.. tokens.SelectMany((token, t) => kept.Row(token).ToArray().Zip(kept.Row(70 + t).ToArray(), (a, b) => a + b))];
        Closeness.AssertSameBits(withPositions, y.Read(), "positions");
    }

    [Fact]
    public void A_token_or_position_beyond_the_table_is_refused()
    {
        using WeightMatrix matrix = Pack(Backend, HostTensor.Random(10, 4, 1), WeightFormat.F32);
        using GuardedTensor y = new(Backend, 1, 4);
        StepInputs step = new(4, 1);
        step.AddSequence([10], 0, [0]);
        Backend.BeginStep(step);
        Assert.Throws<ArgumentException>(() => Backend.Embed(matrix, y.View));

        step.Clear();
        step.AddSequence([9], 10, [0]);
        Backend.BeginStep(step);
        Assert.Throws<ArgumentException>(() => Backend.AddPositions(matrix, y.View));
    }

    [Fact]
    public void A_step_after_one_that_was_given_up_is_right()
    {
        using WeightMatrix matrix = Pack(Backend, HostTensor.Random(10, 4, 1), WeightFormat.F32);
        using GuardedTensor y = new(Backend, 1, 4);
        StepInputs step = new(4, 1);
        step.AddSequence([3], 10, [0]);
        Backend.BeginStep(step);
        Backend.Embed(matrix, y.View);
        Assert.Throws<ArgumentException>(() => Backend.AddPositions(matrix, y.View));
        Backend.AbandonStep();

        step.Clear();
        step.AddSequence([7], 2, [0]);
        Backend.BeginStep(step);
        Backend.Embed(matrix, y.View);

        Closeness.AssertSameBits(HostTensor.Random(10, 4, 1).Row(7).ToArray(), y.Read(), "embeddings");
    }

    [Fact]
    public void Rows_of_no_tokens_are_no_work()
    {
        Backend.BeginStep(new StepInputs(4, 1));
        using WeightMatrix matrix = Pack(Backend, HostTensor.Random(10, 4, 1), WeightFormat.F32);
        using GuardedTensor x = new(Backend, 0, 4);
        using GuardedTensor y = new(Backend, 0, 10);

        Backend.Embed(matrix, x.View);
        Backend.MatMul(x.View, matrix, y.View);
        Backend.Activate(Activation.Silu, y.View);

        Assert.Empty(y.Read());
    }
}
