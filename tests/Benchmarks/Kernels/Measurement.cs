using System.Diagnostics;

namespace InferenceServer.Benchmarks.Kernels;

/// <summary>
/// One thing to time. Machines are shared and noisy, so each is run many times in short slices, all of them in turn, and the best and the
/// middle slice are reported: the best says what the code can do, the middle what the neighbours left of it.
/// </summary>
internal sealed class Measurement
{
    private readonly Action<int> _slice;
    private readonly List<double> _seconds = [];
    private int _rounds;

    /// <param name="name">What a row of the table is called.</param>
    /// <param name="bytes">Bytes of weights, adapters or cache that a slice must read, or 0.</param>
    /// <param name="operations">Floating-point operations of a slice (a multiply-add is two), or 0.</param>
    /// <param name="slice">One call; the argument counts them, to rotate over memory.</param>
    public Measurement(string name, double bytes, double operations, Action<int> slice)
    {
        Name = name;
        Bytes = bytes;
        Operations = operations;
        _slice = slice;
    }

    public string Name { get; }

    public double Bytes { get; }

    public double Operations { get; }

    /// <summary>Shortest slice in seconds.</summary>
    public double Best => _seconds.Min();

    /// <summary>The slice in the middle, in seconds.</summary>
    public double Median => _seconds.Order().ElementAt(_seconds.Count / 2);

    /// <summary>Times one slice.</summary>
    public void RunOnce()
    {
        long start = Stopwatch.GetTimestamp();
        _slice(_rounds++);
        _seconds.Add(Stopwatch.GetElapsedTime(start).TotalSeconds);
    }

    /// <summary>Runs without recording, so that code is compiled and memory touched.</summary>
    public void WarmUp()
    {
        for (int i = 0; i < 2; i++)
        {
            _slice(i);
        }
    }
}
