using InferenceServer.Tensors;
using InferenceServer.TestKit.ReferenceMaths;
using Xunit;

namespace InferenceServer.TestKit.Conformance;

/// <summary>Quantised weights are multiplied as exactly what they stand for, where activations stay f32.</summary>
public abstract class UnroundedQuantizedConformance : QuantizedConformance
{
    [Theory]
    [InlineData(WeightFormat.Int8)]
    [InlineData(WeightFormat.NF4)]
    public void A_product_has_the_bits_of_the_product_with_the_unpacked_weights(WeightFormat format)
    {
        int seed = 1;
        foreach ((int outputs, int inputs) in new[] { (1, 1), (31, 7), (33, 67), (64, 64), (97, 1031), (200, 2600) })
        {
            using WeightMatrix matrix = Pack(Backend, HostTensor.Random(outputs, inputs, seed++), format);
            HostTensor kept = new(outputs, inputs);
            Backend.ReadMatrix(matrix, 0, kept.Values);
            using WeightMatrix unpacked = Pack(Backend, kept, WeightFormat.F32);
            foreach (int rows in new[] { 1, 2, 3, 4, 5, 8, 9, 16, 17, 130 })
            {
                HostTensor x = HostTensor.Random(rows, inputs, seed++);

                float[] y = Run(Backend, x, rows, outputs, (input, output) => Backend.MatMul(input, matrix, output));

                float[] expected = Run(Backend, x, rows, outputs, (input, output) => Backend.MatMul(input, unpacked, output));
                Closeness.AssertSameBits(expected, y, $"{format} [{rows}, {inputs}] x [{outputs}, {inputs}]");
            }
        }
    }
}
