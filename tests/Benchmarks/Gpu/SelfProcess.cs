using System.Diagnostics;

namespace InferenceServer.Benchmarks.Gpu;

/// <summary>This program again, in a process of its own, until it ends or its time is over.</summary>
internal static class SelfProcess
{
    private static readonly TimeSpan s_lookEvery = TimeSpan.FromMilliseconds(100);

    /// <summary>Runs it.</summary>
    /// <param name="arguments">Its command line.</param>
    /// <param name="environment">Variables beyond this process's own.</param>
    /// <param name="onLine">Given each line that it writes, from other threads, one at a time.</param>
    /// <param name="isOver">Asked now and then; true ends the process, with all that it started.</param>
    /// <returns>Its exit code; null when it was ended.</returns>
    public static async Task<int?> RunAsync(
        IEnumerable<string> arguments, IReadOnlyDictionary<string, string> environment, Action<string> onLine, Func<bool> isOver)
    {
        string program = Environment.ProcessPath ?? throw new InvalidOperationException("this program has no path");
        bool isHost = Path.GetFileNameWithoutExtension(program) == "dotnet";
        string self = typeof(SelfProcess).Assembly.Location;
        ProcessStartInfo start = new(program, isHost ? [self, .. arguments] : arguments) { RedirectStandardOutput = true, RedirectStandardError = true };
        foreach ((string name, string value) in environment)
        {
            start.Environment[name] = value;
        }

        using Process process = new() { StartInfo = start };
        Lock oneLine = new();
        void Take(object sender, DataReceivedEventArgs received)
        {
            if (received.Data is { } line)
            {
                lock (oneLine)
                {
                    onLine(line);
                }
            }
        }

        process.OutputDataReceived += Take;
        process.ErrorDataReceived += Take;
        process.Start();
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
        Task ended = process.WaitForExitAsync();
        while (await Task.WhenAny(ended, Task.Delay(s_lookEvery)) != ended)
        {
            if (isOver())
            {
                process.Kill(entireProcessTree: true);
                await ended;
                return null;
            }
        }

        return process.ExitCode;
    }
}
