namespace InferenceServer.Engine.Sampling;

/// <summary>
/// Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"): a random number as a function of a key and a
/// counter, without a state. So a request's n-th draw is the same whatever ran beside it, and after a preemption.
/// </summary>
public static class Philox
{
    private const uint MultiplierA = 0xD2511F53;
    private const uint MultiplierB = 0xCD9E8D57;
    private const uint WeylA = 0x9E3779B9;
    private const uint WeylB = 0xBB67AE85;

    /// <summary>Four random words for a 64-bit key and a 128-bit counter.</summary>
    public static (uint A, uint B, uint C, uint D) Words(ulong key, ulong counterLow, ulong counterHigh)
    {
        uint keyA = (uint)key;
        uint keyB = (uint)(key >> 32);
        uint a = (uint)counterLow;
        uint b = (uint)(counterLow >> 32);
        uint c = (uint)counterHigh;
        uint d = (uint)(counterHigh >> 32);
        for (int round = 0; round < 10; round++)
        {
            ulong productA = (ulong)MultiplierA * a;
            ulong productB = (ulong)MultiplierB * c;
            (a, b, c, d) = ((uint)(productB >> 32) ^ b ^ keyA, (uint)productB, (uint)(productA >> 32) ^ d ^ keyB, (uint)productA);
            keyA += WeylA;
            keyB += WeylB;
        }

        return (a, b, c, d);
    }

    /// <summary>A number in [0, 1) with 53 random bits.</summary>
    public static double Uniform(ulong key, long counter)
    {
        (uint a, uint b, _, _) = Words(key, (ulong)counter, 0);
        return ((((ulong)b << 32) | a) >> 11) * (1.0 / (1UL << 53));
    }
}
