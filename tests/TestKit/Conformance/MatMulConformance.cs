using InferenceServer.Tensors;
using InferenceServer.TestKit.ReferenceMaths;
using Xunit;

namespace InferenceServer.TestKit.Conformance;

/// <summary>Weight matrices and their product.</summary>
public abstract class MatMulConformance : BackendConformance
{
    /// <summary>What x becomes before it meets weights of that format.</summary>
    protected virtual HostTensor Multiplied(HostTensor x, WeightFormat format) => x;

    /// <summary>What kept weights of that format become before they are multiplied.</summary>
    protected virtual HostTensor Used(HostTensor kept, WeightFormat format) => kept;

    /// <summary>What the error of a weight is measured by: its own size.</summary>
    protected virtual HostTensor Sizes(HostTensor kept, WeightFormat format) => kept.Absolute();

    /// <summary>Error allowed, as a part of the sum of all products' sizes.</summary>
    protected virtual double Tolerance(WeightFormat format) => 1e-6;

    [Theory]
    [InlineData(WeightFormat.F32)]
    [InlineData(WeightFormat.BF16)]
    [InlineData(WeightFormat.Int8)]
    [InlineData(WeightFormat.NF4)]
    public void A_product_is_the_reference_for_every_odd_size(WeightFormat format)
    {
        int seed = 1;
        foreach (int outputs in new[] { 1, 15, 16, 31, 32, 33, 64, 97 })
        {
            foreach (int inputs in new[] { 1, 2, 31, 32, 33, 64, 67, 1031 })
            {
                HostTensor weight = HostTensor.Random(outputs, inputs, seed++);
                using WeightMatrix matrix = Pack(Backend, weight, format);
                HostTensor kept = Kept(Backend, weight, matrix);
                foreach (int rows in new[] { 1, 2, 3, 5, 8, 13 })
                {
                    HostTensor x = HostTensor.Random(rows, inputs, seed++);

                    float[] y = Run(Backend, x, rows, outputs, (input, output) => Backend.MatMul(input, matrix, output));

                    double[] scale = Reference.MatMul(x.Absolute(), Sizes(kept, format));
                    string what = $"{format} [{rows}, {inputs}] x [{outputs}, {inputs}]";
                    Closeness.AssertCloseByScale(Reference.MatMul(Multiplied(x, format), Used(kept, format)), scale, y, Tolerance(format), what);
                }
            }
        }
    }

    [Theory]
    [InlineData(WeightFormat.F32)]
    [InlineData(WeightFormat.BF16)]
    [InlineData(WeightFormat.Int8)]
    [InlineData(WeightFormat.NF4)]
    public void A_row_has_the_same_bits_alone_and_in_any_batch(WeightFormat format)
    {
        HostTensor weight = HostTensor.Random(200, 1100, 5);
        HostTensor x = HostTensor.Random(150, 1100, 6);
        using WeightMatrix matrix = Pack(Backend, weight, format);

        float[] all = Run(Backend, x, 150, 200, (input, output) => Backend.MatMul(input, matrix, output));

        foreach ((int first, int count) in new[] { (0, 1), (149, 1), (17, 1), (3, 2), (40, 7), (60, 37), (64, 64), (1, 149) })
        {
            float[] part = Run(Backend, x.Slice(first, count), count, 200, (input, output) => Backend.MatMul(input, matrix, output));
            Closeness.AssertSameBits(all.AsSpan(first * 200, count * 200), part, $"rows {first} + {count}");
        }
    }

    [Theory]
    [InlineData(WeightFormat.F32)]
    [InlineData(WeightFormat.BF16)]
    public void A_backend_says_whether_a_product_rounds_its_inputs(WeightFormat format)
    {
        HostTensor weight = HostTensor.Random(70, 129, 9);
        HostTensor x = HostTensor.Random(20, 129, 10);
        using WeightMatrix matrix = Pack(Backend, weight, format);

        float[] given = Run(Backend, x, 20, 70, (input, output) => Backend.MatMul(input, matrix, output));
        float[] rounded = Run(Backend, x.RoundedToBFloat16(), 20, 70, (input, output) => Backend.MatMul(input, matrix, output));

        Assert.Equal(Backend.RoundsInputs(format), given.AsSpan().SequenceEqual(rounded));
    }

    [Theory]
    [InlineData(WeightFormat.F32)]
    [InlineData(WeightFormat.BF16)]
    [InlineData(WeightFormat.Int8)]
    [InlineData(WeightFormat.NF4)]
    public void One_thread_gives_the_same_bits_as_two(WeightFormat format)
    {
        HostTensor weight = HostTensor.Random(333, 515, 7);
        HostTensor x = HostTensor.Random(20, 515, 8);
        using IComputeBackend single = CreateBackend(1);
        using WeightMatrix matrix = Pack(Backend, weight, format);
        using WeightMatrix singleMatrix = Pack(single, weight, format);

        float[] two = Run(Backend, x, 20, 333, (input, output) => Backend.MatMul(input, matrix, output));
        float[] one = Run(single, x, 20, 333, (input, output) => single.MatMul(input, singleMatrix, output));

        Closeness.AssertSameBits(one, two, "one thread against two");
    }

    [Theory]
    [InlineData(WeightFormat.F32)]
    [InlineData(WeightFormat.BF16)]
    [InlineData(WeightFormat.Int8)]
    [InlineData(WeightFormat.NF4)]
    public void Rows_are_read_back_as_the_product_uses_them(WeightFormat format)
    {
        foreach ((int rows, int columns) in new[] { (1, 1), (32, 32), (33, 31), (70, 65) })
        {
            HostTensor weight = HostTensor.Random(rows, columns, rows);
            using WeightMatrix matrix = Pack(Backend, weight, format);
            HostTensor kept = Kept(Backend, weight, matrix);

            float[] all = new float[rows * columns];
            Backend.ReadMatrix(matrix, 0, all);
            float[] last = new float[columns];
            Backend.ReadMatrix(matrix, rows - 1, last);

            Closeness.AssertSameBits(kept.Values, all, "all rows");
            Closeness.AssertSameBits(kept.Row(rows - 1), last, "last row");
        }
    }

    [Fact]
    public void Matrices_are_identical_only_when_every_weight_is()
    {
        HostTensor weight = HostTensor.Random(40, 50, 3);
        using WeightMatrix first = Pack(Backend, weight, WeightFormat.BF16);
        using WeightMatrix second = Pack(Backend, weight, WeightFormat.BF16);
        using WeightMatrix wider = Pack(Backend, weight, WeightFormat.F32);
        weight[39, 49] += 0.1f;
        using WeightMatrix changed = Pack(Backend, weight, WeightFormat.BF16);

        Assert.True(Backend.AreIdentical(first, second));
        Assert.False(Backend.AreIdentical(first, changed));
        Assert.False(Backend.AreIdentical(first, wider));
    }

    [Fact]
    public void A_shape_that_does_not_fit_is_refused()
    {
        using WeightMatrix matrix = Pack(Backend, HostTensor.Random(8, 6, 1), WeightFormat.F32);
        using GuardedTensor x = new(Backend, HostTensor.Random(2, 6, 1));
        using GuardedTensor wrong = new(Backend, 2, 7);

        Assert.Throws<ArgumentException>(() => Backend.MatMul(x.View, matrix, wrong.View));
        Assert.Throws<ArgumentException>(() => Backend.MatMul(wrong.View, matrix, wrong.View));
    }

    [Fact]
    public void A_failing_reader_is_reported()
    {
        Assert.ThrowsAny<Exception>(() => Backend.CreateMatrix(
            100, 10, WeightFormat.F32, "broken", (first, _) => throw new InvalidDataException($"row {first}")));
    }
}
