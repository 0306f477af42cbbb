using System.Diagnostics;
using System.Globalization;

namespace InferenceServer.Benchmarks;

/// <summary>
/// How many cores other processes used while something was measured. Both sides lose more than their share when somebody else computes,
/// because the threads of a step wait for the slowest.
/// </summary>
/// <param name="BusySeconds">Processor seconds of the whole machine since it started, without idling and waiting for disks.</param>
/// <param name="OwnSeconds">Of it, those of the side that is measured.</param>
/// <param name="Timestamp">When both were read.</param>
internal readonly record struct ProcessorUse(double BusySeconds, double OwnSeconds, long Timestamp)
{
    /// <summary>Cores that others may use in a measurement that counts.</summary>
    public const double MaxOtherCores = 0.15;

    private static readonly TimeSpan s_pause = TimeSpan.FromMilliseconds(300);
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(8);

    // USER_HZ: fixed at 100 in what Linux shows to programs.
    private const double TicksPerSecond = 100;

    /// <summary>Reads both now.</summary>
    /// <param name="ownProcesses">Running processes that belong to the side that is measured, beside this one and its children that ended.</param>
    public static ProcessorUse Read(params ReadOnlySpan<int> ownProcesses)
    {
        // self: user and system time, then those of the children that ended and were waited for.
        double own = Times(File.ReadAllText("/proc/self/stat"), count: 4);
        foreach (int process in ownProcesses)
        {
            own += Times(File.ReadAllText(string.Create(CultureInfo.InvariantCulture, $"/proc/{process}/stat")), count: 2);
        }

        return new ProcessorUse(Busy(File.ReadLines("/proc/stat").First()), own, Stopwatch.GetTimestamp());
    }

    /// <summary>Waits until others use little; not for ever, because a measurement is checked too.</summary>
    /// <param name="ownProcesses">As in <see cref="Read"/>.</param>
    public static async Task WaitForQuietAsync(params int[] ownProcesses)
    {
        for (TimeSpan waited = TimeSpan.Zero; waited < s_patience; waited += s_pause)
        {
            ProcessorUse before = Read(ownProcesses);
            await Task.Delay(s_pause);
            if (Read(ownProcesses).OtherCoresSince(before) < MaxOtherCores)
            {
                return;
            }
        }
    }

    /// <summary>Cores that others used since <paramref name="before"/>; not below 0.</summary>
    public double OtherCoresSince(ProcessorUse before)
    {
        double seconds = Stopwatch.GetElapsedTime(before.Timestamp, Timestamp).TotalSeconds;
        return Math.Max(0, (BusySeconds - before.BusySeconds - (OwnSeconds - before.OwnSeconds)) / seconds);
    }

    /// <summary>Seconds of the machine's line of /proc/stat: user, nice, system, irq, softirq and what the hypervisor took.</summary>
    internal static double Busy(string line)
    {
        long[] ticks = [.. line.Split(' ', StringSplitOptions.RemoveEmptyEntries).Skip(1).Select(Number)];
        return (ticks[0] + ticks[1] + ticks[2] + ticks[5] + ticks[6] + ticks[7]) / TicksPerSecond;
    }

    /// <summary>The first <paramref name="count"/> times of a /proc/PID/stat, from utime on; the name before them may have blanks.</summary>
    internal static double Times(string stat, int count) =>
        stat[(stat.LastIndexOf(')') + 2)..].Split(' ').Skip(11).Take(count).Sum(Number) / TicksPerSecond;

    private static long Number(string text) => long.Parse(text, CultureInfo.InvariantCulture);
}
