using System.Diagnostics;
using InferenceServer.Benchmarks.Kernels;

namespace InferenceServer.Benchmarks.Peers;

/// <summary>How fast this machine reads memory now.</summary>
internal sealed class MemoryPace : IDisposable
{
    // Far beyond every cache, and long enough a sample that threads waking up do not count.
    private const long Bytes = 512L << 20;
    private const long SliceBytes = 128L << 20;

    private readonly ReadBandwidth _reads;

    public MemoryPace(int threads) => _reads = new ReadBandwidth(threads, Bytes, SliceBytes);

    /// <summary>Tokens per second of one that reads <paramref name="bytesPerToken"/> for each, once for each repetition: the best of ten reads.</summary>
    public double[] TokensPerSecond(long bytesPerToken, int repetitions)
    {
        double[] samples = new double[repetitions];
        for (int i = 0; i < repetitions; i++)
        {
            double best = double.PositiveInfinity;
            for (int number = 0; number < 10; number++)
            {
                long start = Stopwatch.GetTimestamp();
                _reads.ReadSlice(number);
                best = Math.Min(best, Stopwatch.GetElapsedTime(start).TotalSeconds);
            }

            samples[i] = SliceBytes / best / bytesPerToken;
        }

        return samples;
    }

    public void Dispose() => _reads.Dispose();
}
