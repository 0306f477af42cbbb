namespace InferenceServer.TestKit.Placeholder;

/// <summary>
/// SplitMix64 (Steele et al. 2014, "Fast splittable pseudorandom number generators"): the same numbers on every machine and runtime, which
/// the placeholder model's weights have to be. Integer arithmetic and one exact conversion only.
/// </summary>
public sealed class DeterministicRandom(ulong seed)
{
    private ulong _state = seed;

    public ulong NextBits()
    {
        _state += 0x9e3779b97f4a7c15;
        ulong z = _state;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
        z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
        return z ^ (z >> 31);
    }

    /// <summary>Uniform in [-<paramref name="bound"/>, <paramref name="bound"/>).</summary>
    public float NextSingle(float bound)
    {
        // 24 bits fill a float's significand exactly.
        return (((NextBits() >> 40) / (float)(1 << 23)) - 1f) * bound;
    }

    public float[] Fill(int count, float bound)
    {
        float[] values = new float[count];
        for (int i = 0; i < count; i++)
        {
            values[i] = NextSingle(bound);
        }

        return values;
    }
}
