using System.Diagnostics;
using System.Text;
using System.Text.RegularExpressions;
using InferenceServer.Client;
using InferenceServer.TestKit.Placeholder;

namespace InferenceServer.IntegrationTests.Crash;

/// <summary>The server as a process of its own, so that it can be killed.</summary>
internal sealed partial class ServerProcess : IDisposable
{
    private static readonly TimeSpan s_startLimit = TimeSpan.FromSeconds(60);

    private readonly Process _process;

    private ServerProcess(Process process, Uri address)
    {
        _process = process;
        Client = new InferenceClient(address.ToString());
    }

    public InferenceClient Client { get; }

    /// <summary>Starts on a free port and waits for its "Ready" line.</summary>
    public static async Task<ServerProcess> StartAsync(string dataFolder, params string[] options)
    {
        Process process = Launch(dataFolder, options);
        StringBuilder log = new();
        TaskCompletionSource<Uri> ready = new(TaskCreationOptions.RunContinuationsAsynchronously);
        process.OutputDataReceived += (_, line) => Read(line.Data);
        process.ErrorDataReceived += (_, line) => Read(line.Data);
        process.EnableRaisingEvents = true;
        process.Exited += (_, _) => ready.TrySetException(new InvalidOperationException($"the server ended before it was ready:\n{log}"));
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
        try
        {
            return new ServerProcess(process, await ready.Task.WaitAsync(s_startLimit));
        }
        catch
        {
            process.Kill();
            throw;
        }

        void Read(string? line)
        {
            lock (log)
            {
                log.AppendLine(line);
            }

            if (line is not null && ReadyLine().Match(line) is { Success: true } match)
            {
                ready.TrySetResult(new Uri(match.Groups[1].Value));
            }
        }
    }

    /// <summary>Starts on a free port and waits for nothing. Later options win over those that all tests share.</summary>
    public static Process Launch(string dataFolder, params string[] options)
    {
        string program = Path.Combine(AppContext.BaseDirectory, "InferenceServer.Server.dll");
        ProcessStartInfo start = new(
            "dotnet",
            [
                program, "--model", PlaceholderModel.Folder, "--grpc", "http://127.0.0.1:0", "--http", "none", "--data", dataFolder,
                "--weights", "f32", "--threads", "1", "--keep-versions", "100",
                .. options,
            ])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };

        // Started fifty times for seconds each: code that starts fast matters more than code that runs fast.
        start.Environment["DOTNET_TieredPGO"] = "0";

        // On a machine that other processes keep busy, training of the lowest priority would hardly come to its turn.
        start.Environment["INFERENCESERVER_Training__Niceness"] = "0";
        if (options.Contains("--packed-cache"))
        {
            // The models of tests are smaller than what is worth a file otherwise.
            start.Environment["INFERENCESERVER_PackedCache__MinimumBytes"] = "0";
        }

        return Process.Start(start)!;
    }

    /// <summary>SIGKILL: no handler runs, no buffer is flushed.</summary>
    public async Task KillAsync()
    {
        _process.Kill();
        await _process.WaitForExitAsync();
    }

    public void Dispose()
    {
        Client.Dispose();
        if (!_process.HasExited)
        {
            _process.Kill();
        }

        _process.Dispose();
    }

    [GeneratedRegex("Ready: gRPC on (http://[^ ,]+)")]
    private static partial Regex ReadyLine();
}
