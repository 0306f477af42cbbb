using InferenceServer.Cpu;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Steps;
using InferenceServer.TestKit.Golden;
using InferenceServer.TestKit.Models;
using Xunit;
using Xunit.Abstractions;

namespace InferenceServer.UnitTests.Transformer;

/// <summary>Checks the products that are served by default, which may round x, against f32 logits.</summary>
internal sealed class ServedChecks(ITestOutputHelper output)
{
    /// <summary>Relative L2 error of logits; bf16 keeps 8 bits of weights and of x.</summary>
    public const double BFloat16Bound = 2e-2;

    /// <summary>How far the rounding of x (beside int8 to 16 bits; the output head is bf16) may move logits.</summary>
    private const double Int8Bound = 1e-2;

    /// <summary>The same beside NF4, where x and the 16 values have 8 bits, as a part of the error that the weights explain.</summary>
    private const double NF4Part = 0.15;

    /// <summary>The whole error, as a part of what the weights alone explain.</summary>
    private const double MostOfAll = 1.05;

    /// <summary>Logits of a bf16 base near transformers' f32 ones.</summary>
    public static void BaseInBFloat16(string folder)
    {
        using ExpectedTensors expected = new(folder);
        using GoldenModel golden = new(folder, WeightFormat.BF16);
        for (int i = 0; i < expected.Count("seq"); i++)
        {
            AssertWithin(BFloat16Bound, golden, expected.Ints($"seq{i}.input_ids"), [], expected.Floats($"seq{i}.logits"), $"sequence {i}");
        }
    }

    /// <summary>Logits of a quantised base near those of the same weights, unpacked, with products that round nothing but sums.</summary>
    public void BaseQuantised(string folder)
    {
        using ExpectedTensors expected = new(folder);
        HarnessSequence[] batch = [.. Enumerable.Range(0, expected.Count("seq")).Select(i => new HarnessSequence(expected.Ints($"seq{i}.input_ids")))];
        foreach (WeightFormat format in new[] { WeightFormat.Int8, WeightFormat.NF4 })
        {
            using GoldenModel exact = new(folder, format, CpuProducts.Vectors);
            using GoldenModel served = new(folder, format);
            float[][] want = exact.Harness.Logits(batch);
            float[][] got = served.Harness.Logits(batch);
            for (int i = 0; i < batch.Length; i++)
            {
                double weights = Tolerance.RelativeL2(expected.Floats($"seq{i}.logits"), want[i]);
                double all = Tolerance.RelativeL2(expected.Floats($"seq{i}.logits"), got[i]);
                output.WriteLine($"{Path.GetFileName(folder)} {format} {i}: weights alone {weights:g3}, served {all:g3}");
                Tolerance.AssertClose(want[i], got[i], format == WeightFormat.Int8 ? Int8Bound : NF4Part * weights, $"{format}, sequence {i}");
                Assert.True(all <= MostOfAll * weights, $"{format}, sequence {i}: error {all:g3}, of which the weights explain {weights:g3}");
            }
        }
    }

    /// <summary>
    /// Logits within the bound, and the same choice of token wherever the expected best is ahead of the second by more than the bound allows.
    /// </summary>
    public static void AssertWithin(
        double bound, GoldenModel golden, int[] prompt, IReadOnlyList<LoraEntry> stack, ReadOnlySpan<float> expected, string what)
    {
        float[] logits = golden.Harness.Logits([new HarnessSequence(prompt, stack)])[0];
        Tolerance.AssertClose(expected, logits, bound, what);
        int vocabulary = expected.Length / prompt.Length;
        for (int position = 0; position < prompt.Length; position++)
        {
            ReadOnlySpan<float> row = expected.Slice(position * vocabulary, vocabulary);
            float[] sorted = row.ToArray();
            Array.Sort(sorted);
            double largest = Math.Max(Math.Abs(sorted[0]), Math.Abs(sorted[^1]));
            if (sorted[^1] - sorted[^2] > 2 * bound * largest)
            {
                int best = row.IndexOf(sorted[^1]);
                ReadOnlySpan<float> own = logits.AsSpan(position * vocabulary, vocabulary);
                Assert.True(best == own.IndexOf(Largest(own)), $"{what}: token {best} is not the best at position {position}");
            }
        }
    }

    private static float Largest(ReadOnlySpan<float> values) => System.Numerics.Tensors.TensorPrimitives.Max(values);
}
