namespace InferenceServer.Engine.Loop;

/// <summary>The pace at which requests leave the queue, as a smoothed time between two of them; says when a refused caller should come back.</summary>
internal sealed class PaceMeter
{
    private const double Smoothing = 0.1;
    private static readonly TimeSpan s_shortest = TimeSpan.FromMilliseconds(100);
    private static readonly TimeSpan s_longest = TimeSpan.FromMinutes(1);
    private static readonly TimeSpan s_unknown = TimeSpan.FromSeconds(1);

    private double _secondsEach;
    private long _last;

    /// <summary>A request left the queue; called by one thread.</summary>
    public void Observe(long timestamp, TimeProvider time)
    {
        if (_last != 0)
        {
            double seconds = time.GetElapsedTime(_last, timestamp).TotalSeconds;
            double before = Volatile.Read(ref _secondsEach);
            Volatile.Write(ref _secondsEach, before == 0 ? seconds : before + (Smoothing * (seconds - before)));
        }

        _last = timestamp;
    }

    /// <summary>When room is expected for somebody behind so many others; any thread.</summary>
    public TimeSpan RetryAfter(int waiting)
    {
        double each = Volatile.Read(ref _secondsEach);
        if (each == 0)
        {
            return s_unknown;
        }

        // Room for one is enough to come back, but all who are refused come back: ask for a tenth of the queue's time.
        TimeSpan estimate = TimeSpan.FromSeconds(Math.Min(each * Math.Max(1, waiting / 10.0), s_longest.TotalSeconds));
        return estimate < s_shortest ? s_shortest : estimate;
    }
}
