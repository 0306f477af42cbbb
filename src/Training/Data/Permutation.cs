namespace InferenceServer.Training.Data;

/// <summary>Orders drawn from a seed, the same on every machine and every version of .NET.</summary>
internal static class Permutation
{
    /// <summary>The numbers below <paramref name="count"/> in a random order (Fisher and Yates).</summary>
    public static int[] Create(int count, int seed, int epoch)
    {
        ulong state = ((ulong)(uint)seed << 32) | (uint)epoch;
        int[] order = [.. Enumerable.Range(0, count)];
        for (int left = count; left > 1; left--)
        {
            // The high half of the product is below left; its bias is at most left in 2^64.
            int chosen = (int)Math.BigMul(Next(ref state), (ulong)left, out _);
            (order[left - 1], order[chosen]) = (order[chosen], order[left - 1]);
        }

        return order;
    }

    /// <summary>SplitMix64 (Steele, Lea and Flood 2014), whose every state gives another well-mixed number.</summary>
    private static ulong Next(ref ulong state)
    {
        state += 0x9E3779B97F4A7C15;
        ulong mixed = state;
        mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9;
        mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EB;
        return mixed ^ (mixed >> 31);
    }
}
