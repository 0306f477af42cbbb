using System.Diagnostics;

namespace InferenceServer.TestKit;

/// <summary>Finds and runs the programs from outside that some tests need.</summary>
public static class ExternalTools
{
    /// <summary>Far more than any of them takes; a program that hangs is killed and its test fails.</summary>
    private static readonly TimeSpan s_limit = TimeSpan.FromMinutes(2);

    private static readonly Lazy<string?> s_python = new(() =>
        Candidates("python3", "/usr/bin/python3").FirstOrDefault(path => Succeeds(path, "-c", "import grpc, google.protobuf")));

    private static readonly Lazy<string?> s_node = new(() =>
        ScriptFolder is { } folder && Directory.Exists(Path.Combine(folder, "node_modules", "@grpc", "grpc-js"))
            && Directory.Exists(Path.Combine(folder, "node_modules", "@grpc", "proto-loader"))
            ? Candidates("node").FirstOrDefault()
            : null);

    private static readonly Lazy<string?> s_promtool = new(() => Candidates("promtool").FirstOrDefault());

    /// <summary>The folder of the scripts of foreign clients, or null when the tests run outside of the repository.</summary>
    public static string? ScriptFolder =>
        GoldenData.RepositoryRoot() is { } root ? Path.Combine(root, "tests", "IntegrationTests", "foreign") : null;

    /// <summary>The program's path, or null when it, or what it needs, is not installed.</summary>
    public static string? Find(Tool tool) => tool switch
    {
        Tool.PythonGrpc => s_python.Value,
        Tool.NodeGrpc => s_node.Value,
        Tool.Promtool => s_promtool.Value,
        _ => throw new ArgumentOutOfRangeException(nameof(tool), tool, "not one tool"),
    };

    /// <summary>What is missing of some tools, with how to get it; null when nothing is.</summary>
    public static string? WhyMissing(Tool tools)
    {
        List<string> reasons = [];
        foreach (Tool tool in Enum.GetValues<Tool>().Where(t => t != Tool.None && tools.HasFlag(t) && Find(t) is null))
        {
            reasons.Add(tool switch
            {
                Tool.PythonGrpc => "no Python with grpcio and protobuf (Debian: python3-grpcio)",
                Tool.NodeGrpc => "no Node with @grpc/grpc-js (npm install in tests/IntegrationTests/foreign)",
                _ => "no promtool (Debian: prometheus)",
            });
        }

        return reasons.Count == 0 ? null : string.Join("; ", reasons);
    }

    /// <summary>Runs a script of <see cref="ScriptFolder"/> with its interpreter.</summary>
    public static Task<ToolResult> RunScriptAsync(Tool interpreter, string script, params string[] arguments) =>
        RunAsync(interpreter, [Path.Combine(ScriptFolder!, script), .. arguments]);

    /// <summary>Starts a script that serves until its standard input ends; the caller reads its output and ends it.</summary>
    public static Process StartScript(Tool interpreter, string script, params string[] arguments) =>
        Start(PathOf(interpreter), [Path.Combine(ScriptFolder!, script), .. arguments]);

    /// <summary>Runs a program to its end.</summary>
    /// <exception cref="TimeoutException">It took more than two minutes and was killed.</exception>
    public static async Task<ToolResult> RunAsync(Tool tool, IReadOnlyList<string> arguments, string input = "")
    {
        string path = PathOf(tool);
        using Process process = Start(path, arguments);
        using CancellationTokenSource timeout = new(s_limit);
        try
        {
            Task<string> output = process.StandardOutput.ReadToEndAsync(timeout.Token);
            Task<string> errors = process.StandardError.ReadToEndAsync(timeout.Token);
            await process.StandardInput.WriteAsync(input.AsMemory(), timeout.Token);
            process.StandardInput.Close();
            await process.WaitForExitAsync(timeout.Token);
            return new ToolResult(process.ExitCode, await output + await errors);
        }
        catch (OperationCanceledException)
        {
            process.Kill(entireProcessTree: true);
            throw new TimeoutException($"{path} {string.Join(' ', arguments)} did not end within {s_limit}");
        }
    }

    private static string PathOf(Tool tool) => Find(tool) ?? throw new InvalidOperationException(WhyMissing(tool));

    private static Process Start(string path, IReadOnlyList<string> arguments)
    {
        ProcessStartInfo start = new(path, arguments)
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };

        // Servers of tests are on the loopback; grpcio and grpc-js would ask a proxy that the environment names.
        start.Environment["NO_PROXY"] = start.Environment["no_proxy"] = "127.0.0.1,localhost";
        start.Environment["PYTHONDONTWRITEBYTECODE"] = "1";
        return Process.Start(start) ?? throw new InvalidOperationException($"{path} did not start");
    }

    private static bool Succeeds(string path, params string[] arguments)
    {
        using Process process = Start(path, arguments);
        process.StandardInput.Close();
        Task<string> output = process.StandardOutput.ReadToEndAsync();
        Task<string> errors = process.StandardError.ReadToEndAsync();
        process.WaitForExit();
        Task.WaitAll(output, errors);
        return process.ExitCode == 0;
    }

    /// <summary>Where a program may be: in the folders of PATH, then at the named places.</summary>
    private static IEnumerable<string> Candidates(string name, params string[] others) =>
        (Environment.GetEnvironmentVariable("PATH") ?? "")
            .Split(Path.PathSeparator, StringSplitOptions.RemoveEmptyEntries)
            .Select(folder => Path.Combine(folder, name))
            .Concat(others)
            .Where(File.Exists);
}
