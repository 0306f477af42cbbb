using System.CommandLine;
using Google.Protobuf;
using Grpc.Core;
using InferenceServer.Cli.Jobs;
using InferenceServer.Client;
using Spectre.Console;

namespace InferenceServer.Cli;

/// <summary>One run of a command: the connection, where output goes, and how errors become exit codes.</summary>
internal sealed class Session : IDisposable
{
    private static readonly JsonFormatter s_whole = new(JsonFormatter.Settings.Default.WithFormatDefaultValues(true));

    private Session(ParseResult parsed, GlobalOptions global)
    {
        Output = parsed.InvocationConfiguration.Output;
        Json = parsed.GetValue(global.Json);
        Timeout = parsed.GetValue(global.Timeout) is { } seconds ? TimeSpan.FromSeconds(seconds) : null;
        InferenceClientOptions options = new() { Address = global.Address(parsed) };
        Client = new InferenceClient(Timeout is { } limit ? options with { Timeout = limit } : options);
        Console = CreateConsole(Output);
    }

    public InferenceClient Client { get; }

    public TextWriter Output { get; }

    public IAnsiConsole Console { get; }

    public bool Json { get; }

    public TimeSpan? Timeout { get; }

    /// <summary>Runs a command against the server and turns what goes wrong into one line and an exit code.</summary>
    public static async Task<int> RunAsync(
        ParseResult parsed, GlobalOptions global, Func<Session, CancellationToken, Task> command, CancellationToken cancellationToken)
    {
        TextWriter errors = parsed.InvocationConfiguration.Error;
        try
        {
            using Session session = new(parsed, global);
            await command(session, cancellationToken);
            return ExitCodes.Ok;
        }
        catch (OperationCanceledException error) when (cancellationToken.IsCancellationRequested)
        {
            await errors.WriteLineAsync(error is DetachedException ? error.Message : "cancelled");
            return ExitCodes.Cancelled;
        }
        catch (CommandFailedException error)
        {
            await errors.WriteLineAsync($"error: {error.Message}");
            return ExitCodes.ServerError;
        }
        catch (InferenceException error)
        {
            string retry = error.RetryAfter is { } wait ? $" (try again in {wait.TotalSeconds:0.###} s)" : "";
            string server = error.Status == StatusCode.Unavailable ? $" [{global.Address(parsed)}]" : "";
            await errors.WriteLineAsync($"error: {error.Status}: {error.Message}{retry}{server}");
            return ExitCodes.ServerError;
        }
        catch (Exception error) when (error is UsageException or IOException or UnauthorizedAccessException)
        {
            await errors.WriteLineAsync($"error: {error.Message}");
            return ExitCodes.Usage;
        }
    }

    /// <summary>Prints a whole message as JSON, absent fields included.</summary>
    public void WriteJson(IMessage message)
    {
        Output.WriteLine(s_whole.Format(message));
    }

    /// <summary>Prints a message of a stream on a line of its own, what is absent left out.</summary>
    public void WriteJsonLine(IMessage message)
    {
        Output.WriteLine(JsonFormatter.Default.Format(message));
        Output.Flush();
    }

    public void Dispose()
    {
        Client.Dispose();
    }

    private static IAnsiConsole CreateConsole(TextWriter output)
    {
        bool terminal = ReferenceEquals(output, System.Console.Out) && !System.Console.IsOutputRedirected;
        AnsiConsoleSettings settings = new()
        {
            Out = new AnsiConsoleOutput(output),
            Ansi = terminal ? AnsiSupport.Detect : AnsiSupport.No,
            ColorSystem = terminal ? ColorSystemSupport.Detect : ColorSystemSupport.NoColors,
            Interactive = terminal ? InteractionSupport.Detect : InteractionSupport.No,
        };
        IAnsiConsole console = AnsiConsole.Create(settings);
        if (!terminal)
        {
            // A file has no width: a row stays a line.
            console.Profile.Width = 240;
        }

        return console;
    }
}
