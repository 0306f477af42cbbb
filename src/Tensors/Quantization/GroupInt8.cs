using System.Numerics.Tensors;

namespace InferenceServer.Tensors.Quantization;

/// <summary>
/// Integers in -127 .. 127 with one bf16 scale for each <see cref="GroupSize"/> successive inputs of an output:
/// <c>scale = max |w| / 127</c> rounded up to bf16, <c>code = round(w / scale)</c>. So no weight is clipped and each is off by half a scale
/// at most, which is below 0.4 % of the group's largest.
/// </summary>
public static class GroupInt8
{
    /// <summary>Weights that share a scale.</summary>
    public const int GroupSize = 32;

    private const float LargestCode = 127;

    /// <summary>Quantises one group.</summary>
    /// <param name="weights">1 to <see cref="GroupSize"/> weights.</param>
    /// <param name="codes">As many codes.</param>
    /// <returns>The group's scale as bf16 bits.</returns>
    /// <exception cref="InvalidDataException">A weight is not finite.</exception>
    public static ushort Encode(ReadOnlySpan<float> weights, Span<sbyte> codes)
    {
        float largest = Math.Abs(TensorPrimitives.MaxMagnitude(weights));
        if (!float.IsFinite(largest))
        {
            throw new InvalidDataException($"a group of weights with {largest} cannot be quantised");
        }

        ushort bits = RoundedUp(largest / LargestCode);
        float scale = BFloat16.ToSingle(bits);
        for (int i = 0; i < weights.Length; i++)
        {
            codes[i] = scale == 0 ? (sbyte)0 : (sbyte)MathF.Round(weights[i] / scale);
        }

        return bits;
    }

    // The smallest bf16 that is not below a number that is not negative.
    private static ushort RoundedUp(float value)
    {
        uint bits = BitConverter.SingleToUInt32Bits(value);
        return (ushort)((bits + 0xffff) >> 16);
    }
}
