using System.Globalization;
using InferenceServer.Cpu;
using InferenceServer.Models.Transformer;
using InferenceServer.Tensors;
using InferenceServer.TestKit.Golden;
using InferenceServer.TestKit.Models;
using InferenceServer.TestKit.TinyModel;
using Xunit;
using Xunit.Abstractions;

namespace InferenceServer.UnitTests.Transformer;

/// <summary>Checks that a quantised base differs from the f32 one by what its weights lost and by nothing else.</summary>
internal sealed class QuantizedChecks(ITestOutputHelper output)
{
    /// <summary>
    /// The logits have the bits of an f32 model over the unpacked weights, whole and chunked, with the head quantised or not; those weights are compared with their
    /// definition in f64 by QuantizedConformance.
    /// </summary>
    public void Base(string folder)
    {
        using ExpectedTensors expected = new(folder);
        HarnessSequence[] batch = [.. Enumerable.Range(0, expected.Count("seq")).Select(i => new HarnessSequence(expected.Ints($"seq{i}.input_ids")))];
        double[] errors = [.. new[] { WeightFormat.Int8, WeightFormat.NF4 }.Select(format =>
        {
            using GoldenModel quantized = new(folder, format, CpuProducts.Vectors);
            float[][] logits = quantized.Harness.Logits(batch);
            using GoldenModel whole = new(folder, format, CpuProducts.Vectors, WeightFormat.Int8);

            Assert.Equal(UnpackedLogits(folder, format, null, batch), logits);
            Assert.Equal(UnpackedLogits(folder, format, WeightFormat.Int8, batch), whole.Harness.Logits(batch));
            Assert.Equal(logits, quantized.Harness.Logits(batch, chunk: 3));
            return batch.Select((_, i) => Tolerance.RelativeL2(expected.Floats($"seq{i}.logits"), logits[i])).Max();
        })];

        output.WriteLine(string.Create(
            CultureInfo.InvariantCulture, $"{Path.GetFileName(folder)}: logits off by {errors[0]:g2} in int8, {errors[1]:g2} in nf4"));
        Assert.InRange(errors[0], 0, errors[1]);
    }

    private static float[][] UnpackedLogits(string folder, WeightFormat format, WeightFormat? head, HarnessSequence[] batch)
    {
        using CpuBackend inner = new(new CpuOptions { Products = CpuProducts.Vectors });
        using HookedBackend backend = new(inner)
        {
            PackMatrix = (rows, columns, kept, label, reader) =>
            {
                float[] values = new float[rows * columns];
                using (WeightMatrix packed = inner.CreateMatrix(rows, columns, kept, label, reader))
                {
                    inner.ReadMatrix(packed, 0, values);
                }

                return inner.CreateMatrix(
                    rows, columns, WeightFormat.F32, label, (first, target) => values.AsSpan(first * columns, target.Length).CopyTo(target));
            },
        };
        using TransformerModel model = TransformerModel.Load(
            folder, backend, new ModelLoadOptions { Weights = format, Head = head, MaxBatchTokens = 256, MaxSampledRows = 256 });
        using ModelHarness harness = new(model, backend);
        return harness.Logits(batch);
    }
}
