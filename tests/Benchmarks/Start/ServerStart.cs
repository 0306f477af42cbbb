using System.Diagnostics;
using System.Globalization;
using System.Text.RegularExpressions;
using InferenceServer.Client;
using InferenceServer.Protocol.V1;

namespace InferenceServer.Benchmarks.Start;

/// <summary>One start of the server's program: seconds since the process began, and its memory after some tokens.</summary>
internal sealed partial class ServerStart
{
    private readonly List<string> _lines = [];

    public double FirstLine { get; private set; }

    public double Loading { get; private set; }

    public double Ready { get; private set; }

    public double FirstToken { get; private set; }

    /// <summary>Most that was resident at any time, files included (VmHWM).</summary>
    public long PeakMB { get; private set; }

    public long OwnMB { get; private set; }

    public long FileMB { get; private set; }

    /// <summary>In pages of 2 MB, memory of its own and mapped files.</summary>
    public long HugeMB { get; private set; }

    /// <summary>From one token to the next.</summary>
    public double MedianMilliseconds { get; private set; }

    /// <summary>What the server logged of its start.</summary>
    public IReadOnlyList<string> Lines => _lines;

    public static async Task<ServerStart> RunAsync(string model, string weights, string data, int tokens, string[] options)
    {
        string program = Path.Combine(AppContext.BaseDirectory, "InferenceServer.Server.dll");
        ProcessStartInfo info = new(
            "dotnet",
            [program, "--model", model, "--weights", weights, "--data", data, "--grpc", "http://127.0.0.1:0", "--http", "none", .. options])
        {
            RedirectStandardOutput = true,
        };
        ServerStart start = new();
        long began = Stopwatch.GetTimestamp();
        using Process process = Process.Start(info)!;
        try
        {
            TaskCompletionSource<string> ready = new(TaskCreationOptions.RunContinuationsAsynchronously);
            TaskCompletionSource kept = new(TaskCreationOptions.RunContinuationsAsynchronously);
            Task reading = start.ReadAsync(process, began, ready, kept);
            string address = await ready.Task.WaitAsync(TimeSpan.FromMinutes(5));
            await start.GenerateAsync(address, began, tokens);
            if (!options.Contains("off"))
            {
                // The next start is only fast once this one has written what it packed.
                await kept.Task.WaitAsync(TimeSpan.FromMinutes(5));
            }

            start.ReadMemory(process.Id);
            process.Kill();
            await reading;
            await process.WaitForExitAsync();
        }
        finally
        {
            if (!process.HasExited)
            {
                process.Kill();
            }
        }

        return start;
    }

    private static double Since(long began) => Stopwatch.GetElapsedTime(began).TotalSeconds;

    private async Task ReadAsync(Process process, long began, TaskCompletionSource<string> ready, TaskCompletionSource kept)
    {
        while (await process.StandardOutput.ReadLineAsync() is { } line)
        {
            double now = Since(began);
            FirstLine = FirstLine == 0 ? now : FirstLine;
            if (line.Contains("Loading ", StringComparison.Ordinal) && Loading == 0)
            {
                Loading = now;
            }

            if (line.Contains("Packed weights:", StringComparison.Ordinal))
            {
                kept.TrySetResult();
            }

            if (!line.StartsWith("info:", StringComparison.Ordinal))
            {
                _lines.Add(string.Create(CultureInfo.InvariantCulture, $"{now:0.000} {line.Trim()}"));
            }

            if (ReadyLine().Match(line) is { Success: true } match)
            {
                Ready = now;
                ready.TrySetResult(match.Groups[1].Value);
            }
        }

        ready.TrySetException(new InvalidOperationException("the server ended before it was ready:\n" + string.Join('\n', _lines)));
    }

    private async Task GenerateAsync(string address, long began, int tokens)
    {
        using InferenceClient client = new(address);
        List<double> pauses = [];
        double last = 0;
        GenerationSettings settings = new() { Stopping = new StoppingCriteria { MaxTokens = tokens, IgnoreEos = true } };
        await foreach (GenerateResponse response in client.GenerateAsync("The first token after a start", settings))
        {
            if (response.TokenIds.Count == 0)
            {
                continue;
            }

            double now = Since(began);
            if (FirstToken == 0)
            {
                FirstToken = now;
            }
            else
            {
                pauses.Add((now - last) / response.TokenIds.Count);
            }

            last = now;
        }

        pauses.Sort();
        MedianMilliseconds = pauses[pauses.Count / 2] * 1000;
    }

    private void ReadMemory(int process)
    {
        PeakMB = Field(File.ReadAllText($"/proc/{process}/status"), "VmHWM");
        OwnMB = Field(File.ReadAllText($"/proc/{process}/status"), "RssAnon");
        FileMB = Field(File.ReadAllText($"/proc/{process}/status"), "RssFile");
        string usage = File.ReadAllText($"/proc/{process}/smaps_rollup");
        HugeMB = Field(usage, "AnonHugePages") + Field(usage, "FilePmdMapped");
    }

    private static long Field(string text, string name) =>
        long.Parse(Regex.Match(text, name + @":\s+(\d+)").Groups[1].Value, CultureInfo.InvariantCulture) >> 10;

    [GeneratedRegex("Ready: gRPC on (http://[^ ,]+)")]
    private static partial Regex ReadyLine();
}
