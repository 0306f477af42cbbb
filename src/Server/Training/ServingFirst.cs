namespace InferenceServer.Server.Training;

/// <summary>
/// Holds training up between two operations while requests run. The lowest priority gives way on the cores only when a thread of serving
/// is there to take them; memory and caches know no priority, so training may also stand aside for a time in proportion to its work.
/// </summary>
/// <remarks>The waits are bounded: under steady load training still gets its share. One thread calls it.</remarks>
/// <param name="isServing">Whether requests run.</param>
/// <param name="pausePerWork">Longest wait for each second of work; 0 never waits.</param>
/// <param name="time">The clock.</param>
/// <param name="stop">Ends all waiting.</param>
internal sealed class ServingFirst(Func<bool> isServing, double pausePerWork, TimeProvider time, CancellationToken stop)
{
    private const long LeastTicks = TimeSpan.TicksPerMillisecond;

    private long _workStart = time.GetTimestamp();
    private TimeSpan _waited;

    /// <summary>How long it has held training up in all.</summary>
    public TimeSpan Waited => _waited;

    /// <summary>To be called before each operation.</summary>
    public void Pass()
    {
        // Most operations are shorter than a look is worth.
        TimeSpan work = time.GetElapsedTime(_workStart);
        if (pausePerWork == 0 || work.Ticks < LeastTicks)
        {
            return;
        }

        long start = time.GetTimestamp();
        TimeSpan most = pausePerWork * work;
        while (isServing() && !stop.IsCancellationRequested && time.GetElapsedTime(start) < most)
        {
            Thread.Sleep(1);
        }

        _workStart = time.GetTimestamp();
        _waited += time.GetElapsedTime(start, _workStart);
    }
}
