namespace InferenceServer.AdapterStore.Import;

/// <summary>
/// VeRA's shared projections as PEFT draws them when they are not in the file: A <c>[R, in]</c> then B <c>[out, R]</c> from one
/// generator, each uniform in <c>+-sqrt(6 / fan_in)</c> (Kaiming), f32 arithmetic in torch's order.
/// </summary>
internal static class VeraProjection
{
    /// <summary>Draws both projections.</summary>
    public static (float[] A, float[] B) Draw(uint seed, int rank, int largestIn, int largestOut)
    {
        MersenneTwister generator = new(seed);
        float[] a = Uniform(generator, (long)rank * largestIn, largestIn);
        float[] b = Uniform(generator, (long)largestOut * rank, rank);
        return (a, b);
    }

    private static float[] Uniform(MersenneTwister generator, long count, int fanIn)
    {
        double bound = Math.Sqrt(3.0) * (Math.Sqrt(2.0) / Math.Sqrt(fanIn));
        float from = (float)-bound;
        float to = (float)bound;
        float[] values = new float[count];
        for (long i = 0; i < count; i++)
        {
            // The low 24 bits, as many as an f32 mantissa holds; torch's builds fuse the multiplication with the addition.
            float unit = (generator.Next() & 0xFF_FFFF) * (1.0f / (1 << 24));
            values[i] = MathF.FusedMultiplyAdd(unit, to - from, from);
        }

        return values;
    }
}
