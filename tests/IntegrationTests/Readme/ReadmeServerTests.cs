using System.Diagnostics;
using System.Text.RegularExpressions;
using InferenceServer.Client;
using InferenceServer.TestKit;
using Xunit;

namespace InferenceServer.IntegrationTests.Readme;

/// <summary>The README's first command as a process of its own: starts without anything, serves, and ends in order on SIGTERM.</summary>
public partial class ReadmeServerTests
{
    private const string Configuration =
#if DEBUG
        "Debug";
#else
        "Release";
#endif

    private static readonly TimeSpan s_limit = TimeSpan.FromSeconds(60);

    [LinuxFact]
    public async Task The_first_command_starts_a_server_that_serves_and_stops_in_order()
    {
        using TemporaryFolder data = new();

        // As the README has it, but built already, in this configuration, on free ports, and with a data folder that goes.
        ProcessStartInfo start = new("dotnet", ["run", "--no-build", "-c", Configuration, "--project", "src/Server"])
        {
            WorkingDirectory = GoldenData.RepositoryRoot()!,
            RedirectStandardOutput = true,
        };
        start.Environment["INFERENCESERVER_GRPC"] = "http://127.0.0.1:0";
        start.Environment["INFERENCESERVER_HTTP"] = "http://127.0.0.1:0";
        start.Environment["INFERENCESERVER_DATA"] = data.Path;
        using Process process = Process.Start(start)!;
        using CancellationTokenSource limit = new(s_limit);
        try
        {
            Uri address = await ReadyAsync(process, limit.Token);
            Task<string> rest = process.StandardOutput.ReadToEndAsync(limit.Token);
            using InferenceClient client = new(address.ToString());
            GenerationResult result = await client.GenerateTextAsync("hello", Generate.Greedy(tokens: 4), limit.Token);

            using Process terminate = Process.Start("kill", ["-TERM", ServerOf(process)]);
            await process.WaitForExitAsync(limit.Token);

            Assert.Equal(4, result.TokenIds.Count);
            Assert.Equal(0, process.ExitCode);
            Assert.Contains("Stopping: ", await rest, StringComparison.Ordinal);
        }
        finally
        {
            if (!process.HasExited)
            {
                process.Kill(entireProcessTree: true);
            }
        }
    }

    private static async Task<Uri> ReadyAsync(Process process, CancellationToken cancellationToken)
    {
        List<string> lines = [];
        while (await process.StandardOutput.ReadLineAsync(cancellationToken) is { } line)
        {
            lines.Add(line);
            if (ReadyLine().Match(line) is { Success: true } match)
            {
                return new Uri(match.Groups[1].Value);
            }
        }

        throw new InvalidOperationException($"the server ended before it was ready:\n{string.Join('\n', lines)}");
    }

    /// <summary>dotnet run starts the program as its child.</summary>
    private static string ServerOf(Process run)
    {
        string children = File.ReadAllText($"/proc/{run.Id}/task/{run.Id}/children").Trim();
        return children.Length > 0 ? children.Split(' ')[0] : run.Id.ToString(System.Globalization.CultureInfo.InvariantCulture);
    }

    [GeneratedRegex("Ready: gRPC on (http://[^ ,]+)")]
    private static partial Regex ReadyLine();
}
