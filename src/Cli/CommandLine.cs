using System.CommandLine;
using InferenceServer.Cli.Commands;

namespace InferenceServer.Cli;

/// <summary>The command line as a whole; also the door for tests, which hand in their own streams.</summary>
public static class CommandLine
{
    /// <summary>Parses and runs; returns one of <see cref="ExitCodes"/>.</summary>
    public static async Task<int> RunAsync(
        IReadOnlyList<string> arguments,
        TextReader input,
        TextWriter output,
        TextWriter error,
        CancellationToken cancellationToken = default)
    {
        ParseResult parsed = Build(input).Parse(arguments);
        InvocationConfiguration streams = new() { Output = output, Error = error, EnableDefaultExceptionHandler = false };
        int code = await parsed.InvokeAsync(streams, cancellationToken);
        return parsed.Errors.Count > 0 ? ExitCodes.Usage : code;
    }

    private static RootCommand Build(TextReader input)
    {
        GlobalOptions global = new();
        RootCommand root = new("Talks to an InferenceServer: generates text with any adapter, manages the adapters, and trains new ones.")
        {
            GenerateCommand.Create(global, input),
            ChatCommand.Create(global, input),
            AdapterCommands.Create(global),
            TrainCommand.Create(global),
            JobCommands.Create(global),
            EvaluateCommand.Create(global),
            CompareCommand.Create(global),
            DownloadCommand.Create(global),
            InfoCommand.Create(global),
        };
        root.Add(global.Server);
        root.Add(global.Json);
        root.Add(global.Timeout);
        return root;
    }
}
