using InferenceServer.Tensors;
using InferenceServer.TestKit.ReferenceMaths;
using Xunit;

namespace InferenceServer.TestKit.Conformance;

/// <summary>What quantised weights stand for.</summary>
public abstract class QuantizedConformance : BackendConformance
{
    [Theory]
    [InlineData(WeightFormat.Int8, 1, 1)]
    [InlineData(WeightFormat.Int8, 33, 31)]
    [InlineData(WeightFormat.Int8, 70, 65)]
    [InlineData(WeightFormat.Int8, 40, 1000)]
    [InlineData(WeightFormat.NF4, 1, 1)]
    [InlineData(WeightFormat.NF4, 33, 63)]
    [InlineData(WeightFormat.NF4, 70, 65)]
    [InlineData(WeightFormat.NF4, 97, 1031)]
    [InlineData(WeightFormat.NF4, 64, 1024)]
    public void Weights_are_those_of_the_definition(WeightFormat format, int rows, int columns)
    {
        HostTensor weight = HostTensor.Random(rows, columns, 3);

        // Blocks of different sizes, and one of zeros.
        for (int i = 0; i < weight.Values.Length; i++)
        {
            int block = i / 64;
            weight.Values[i] *= block % 7 == 6 ? 0 : MathF.Pow(3, (block % 5) - 2);
        }

        using WeightMatrix matrix = Pack(Backend, weight, format);
        float[] kept = ReadAll(matrix);

        // Scales are f32 here and f64 there, so are the quotients that choose the codes of the scales.
        (double[] expected, double[] scales) = QuantizedReference.Unpack(weight, format);
        Closeness.AssertCloseByScale(expected, scales, kept, 1e-6, $"{format} [{rows}, {columns}]");
    }

    [Theory]
    [InlineData(WeightFormat.Int8)]
    [InlineData(WeightFormat.NF4)]
    public void A_matrix_is_identical_to_itself_packed_by_one_thread_and_to_no_other(WeightFormat format)
    {
        HostTensor weight = HostTensor.Random(140, 300, 3);
        using IComputeBackend single = CreateBackend(1);
        using WeightMatrix first = Pack(Backend, weight, format);
        using WeightMatrix second = Pack(single, weight, format);

        // Blocks that are twice as large keep their codes: only the scales tell.
        for (int i = 0; i < 64; i++)
        {
            weight[139, i] *= 2;
        }

        using WeightMatrix changed = Pack(Backend, weight, format);

        Assert.True(Backend.AreIdentical(first, second));
        Assert.False(Backend.AreIdentical(first, changed));
    }

    [Theory]
    [InlineData(WeightFormat.Int8, float.NaN)]
    [InlineData(WeightFormat.Int8, float.PositiveInfinity)]
    [InlineData(WeightFormat.NF4, float.NaN)]
    [InlineData(WeightFormat.NF4, float.NegativeInfinity)]
    public void A_weight_that_is_not_finite_is_refused(WeightFormat format, float value)
    {
        HostTensor weight = HostTensor.Random(40, 70, 3);
        weight[33, 66] = value;

        InvalidDataException error = Assert.Throws<InvalidDataException>(() => Pack(Backend, weight, format).Dispose());

        Assert.Contains("'weight'", error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(WeightFormat.Int8, 8.5)]
    [InlineData(WeightFormat.NF4, 4.5)]
    public void A_weight_takes_the_bits_that_the_format_says(WeightFormat format, double bits)
    {
        using WeightMatrix matrix = Pack(Backend, HostTensor.Random(256, 4096, 1), format);

        Assert.Equal(bits, matrix.ByteCount * 8.0 / (matrix.Rows * matrix.Columns), 0.001);
    }

    private float[] ReadAll(WeightMatrix matrix)
    {
        float[] values = new float[matrix.Rows * matrix.Columns];
        Backend.ReadMatrix(matrix, 0, values);
        return values;
    }
}
