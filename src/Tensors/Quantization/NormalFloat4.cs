using System.Numerics.Tensors;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace InferenceServer.Tensors.Quantization;

/// <summary>
/// The 4-bit NormalFloat of QLoRA (arXiv:2305.14314, appendix E): 16 values so placed that each is as likely as the others when weights
/// are normally distributed, 0 among them. A block of <see cref="BlockSize"/> successive inputs of one output shares the scale
/// <c>max |w|</c>; a weight becomes the code of the value nearest to <c>w / scale</c>.
/// </summary>
/// <remarks>
/// Values and boundaries are bitsandbytes' (NF4, block size 64). Two differences that change no ordinary weight: blocks never run from one
/// output into the next, so the last block of an output is shorter when the inputs are no multiple of 64; and a block of zeros stays zeros.
/// </remarks>
public static class NormalFloat4
{
    /// <summary>Weights that share a scale.</summary>
    public const int BlockSize = 64;

    /// <summary>Code of the value 0.</summary>
    public const byte ZeroCode = 7;

    private static readonly float[] s_values =
    [
        -1f, -0.6961928009986877f, -0.5250730514526367f, -0.39491748809814453f,
        -0.28444138169288635f, -0.18477343022823334f, -0.09105003625154495f, 0f,
        0.07958029955625534f, 0.16093020141124725f, 0.24611230194568634f, 0.33791524171829224f,
        0.44070982933044434f, 0.5626170039176941f, 0.7229568362236023f, 1f,
    ];

    // Half way between two values, rounded to f32; what lies on a boundary takes the lower code.
    private static readonly float[] s_boundaries =
        [.. Enumerable.Range(0, 15).Select(i => (float)(((double)s_values[i] + s_values[i + 1]) / 2))];

    /// <summary>The value of each code, rising.</summary>
    public static ReadOnlySpan<float> Values => s_values;

    /// <summary>Quantises one block.</summary>
    /// <param name="weights">1 to <see cref="BlockSize"/> weights.</param>
    /// <param name="codes">As many codes.</param>
    /// <returns>The block's scale, its largest absolute weight.</returns>
    /// <exception cref="InvalidDataException">A weight is not finite.</exception>
    public static float Encode(ReadOnlySpan<float> weights, Span<byte> codes)
    {
        float scale = Math.Abs(TensorPrimitives.MaxMagnitude(weights));
        if (!float.IsFinite(scale))
        {
            throw new InvalidDataException($"a block of weights with {scale} cannot be quantised");
        }

        codes = codes[..weights.Length];
        if (scale == 0)
        {
            codes.Fill(ZeroCode);
            return 0;
        }

        // The reciprocal of a subnormal overflows; dividing does not.
        Vector256<float> scales = Vector256.Create(scale);
        int i = 0;
        for (; i <= weights.Length - Vector256<float>.Count; i += Vector256<float>.Count)
        {
            Vector256<float> x = Vector256.Create(weights[i..]) / scales;
            Vector256<int> code = Vector256<int>.Zero;
            foreach (float boundary in s_boundaries)
            {
                // A true comparison is -1.
                code -= Vector256.GreaterThan(x, Vector256.Create(boundary)).AsInt32();
            }

            Vector128<short> narrow = Vector256.Narrow(code, code).GetLower();
            MemoryMarshal.Write(codes[i..], Vector128.Narrow(narrow, narrow).AsUInt64().ToScalar());
        }

        for (; i < weights.Length; i++)
        {
            codes[i] = Encode(weights[i] / scale);
        }

        return scale;
    }

    /// <summary>The code of the value nearest to <paramref name="x"/>.</summary>
    public static byte Encode(float x)
    {
        byte code = 0;
        foreach (float boundary in s_boundaries)
        {
            code += x > boundary ? (byte)1 : (byte)0;
        }

        return code;
    }
}
