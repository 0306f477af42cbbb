using System.Numerics.Tensors;

namespace InferenceServer.Tensors.Quantization;

/// <summary>
/// The 8-bit numbers with a decimal exponent (Dettmers, arXiv:1511.04561) in which QLoRA's double quantisation keeps the scales of
/// <see cref="NormalFloat4"/>: <c>10^(e-6) * (0.1 + 0.9 (j + 1/2) / 2^e)</c> with e = 0 .. 6 and j below 2^e, both signs, and 0 and 1.
/// </summary>
/// <remarks>
/// Of a matrix's scales, in the order of its blocks (row-major), the mean is taken away; then each <see cref="GroupSize"/> successive ones
/// are divided by their largest absolute value and become the code of the nearest number. Back:
/// <c>scale = Values[code] * largest + mean</c>, each operation rounded to f32. So bitsandbytes does it with <c>compress_statistics</c>;
/// a matrix of several modules side by side (q, k, v) is one matrix here.
/// </remarks>
public static class DynamicByte
{
    /// <summary>Scales that share a factor.</summary>
    public const int GroupSize = 256;

    private const int Exponents = 7;

    private static readonly float[] s_values = CreateValues();

    private static readonly float[] s_boundaries =
        [.. Enumerable.Range(0, 255).Select(i => (float)(((double)s_values[i] + s_values[i + 1]) / 2))];

    /// <summary>The number of each code, rising.</summary>
    public static ReadOnlySpan<float> Values => s_values;

    /// <summary>The code of the number nearest to <paramref name="x"/>, of two equally near the lower.</summary>
    public static byte Encode(float x)
    {
        // The first boundary that x is not above.
        int low = 0;
        int high = s_boundaries.Length;
        while (low < high)
        {
            int middle = (low + high) / 2;
            if (x > s_boundaries[middle])
            {
                low = middle + 1;
            }
            else
            {
                high = middle;
            }
        }

        return (byte)low;
    }

    /// <summary>Gives a matrix's scales the values that their own quantisation leaves them.</summary>
    /// <param name="scales">All of them, in the order of their blocks (row-major).</param>
    public static void Round(Span<float> scales)
    {
        double sum = 0;
        foreach (float scale in scales)
        {
            sum += scale;
        }

        float mean = (float)(sum / scales.Length);
        for (int first = 0; first < scales.Length; first += GroupSize)
        {
            Span<float> own = scales.Slice(first, Math.Min(GroupSize, scales.Length - first));
            TensorPrimitives.Subtract(own, mean, own);
            float largest = Math.Abs(TensorPrimitives.MaxMagnitude(own));
            for (int i = 0; i < own.Length; i++)
            {
                // Two roundings, as in the definition.
                float value = Values[Encode(largest == 0 ? 0 : own[i] / largest)] * largest;
                own[i] = value + mean;
            }
        }
    }

    private static float[] CreateValues()
    {
        List<float> values = [0f, 1f];
        for (int exponent = 0; exponent < Exponents; exponent++)
        {
            int steps = 1 << exponent;
            for (int j = 0; j < steps; j++)
            {
                double value = Math.Pow(10, exponent - Exponents + 1) * (0.1 + (0.9 * (j + 0.5) / steps));
                values.Add((float)value);
                values.Add((float)-value);
            }
        }

        values.Sort();
        return [.. values];
    }
}
