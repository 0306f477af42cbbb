using System.Diagnostics;
using Xunit;

namespace InferenceServer.IntegrationTests;

/// <summary>Waits for what another thread or process does in its own time.</summary>
internal static class Eventually
{
    private static readonly TimeSpan s_limit = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan s_pause = TimeSpan.FromMilliseconds(10);

    /// <summary>
    /// Returns once <paramref name="condition"/> holds; fails naming <paramref name="phase"/> when it does not within 30 s.
    /// </summary>
    public static Task Holds(string phase, Func<bool> condition) => Holds(phase, () => Task.FromResult(condition()));

    /// <inheritdoc cref="Holds(string, Func{bool})"/>
    public static async Task Holds(string phase, Func<Task<bool>> condition)
    {
        long start = Stopwatch.GetTimestamp();
        while (!await condition())
        {
            Assert.True(Stopwatch.GetElapsedTime(start) < s_limit, $"waited {s_limit.TotalSeconds} s in vain: {phase}");
            await Task.Delay(s_pause);
        }
    }
}
