using System.CommandLine;
using InferenceServer.Client;
using InferenceServer.Protocol.V1;

namespace InferenceServer.Cli.Commands;

/// <summary><c>chat</c>: a conversation that keeps its history.</summary>
internal static class ChatCommand
{
    private const string Help = "/reset starts over, /quit (or end of input) ends";

    public static Command Create(GlobalOptions global, TextReader input)
    {
        Option<string> system = new("--system") { Description = "The system message." };
        SamplingOptions sampling = new();
        Command command = new("chat", $"Talk with the model; {Help}.") { system };
        sampling.AddTo(command);
        command.SetAction((parsed, cancellationToken) => Session.RunAsync(parsed, global, (session, token) =>
            TalkAsync(session, input, parsed.GetValue(system), sampling.Read(parsed, session.Timeout), token), cancellationToken));
        return command;
    }

    private static async Task TalkAsync(
        Session session, TextReader input, string? system, GenerationSettings settings, CancellationToken cancellationToken)
    {
        bool prompts = session.Console.Profile.Capabilities.Interactive && !session.Json;
        List<ChatMessage> history = Start(system);
        if (prompts)
        {
            await session.Output.WriteLineAsync(Help);
        }

        while (true)
        {
            if (prompts)
            {
                await session.Output.WriteAsync("> ");
            }

            string? line = await ReadLineAsync(input, cancellationToken);
            switch (line?.Trim())
            {
                case null or "/quit":
                    return;
                case "":
                    continue;
                case "/reset":
                    history = Start(system);
                    continue;
            }

            history.Add(new ChatMessage { Role = "user", Content = line });
            string answer = await StreamedAnswer.PrintAsync(
                session, session.Client.ChatStreamAsync(history, settings, cancellationToken), usage: null);
            history.Add(new ChatMessage { Role = "assistant", Content = answer });
        }
    }

    private static List<ChatMessage> Start(string? system)
    {
        return string.IsNullOrEmpty(system) ? [] : [new ChatMessage { Role = "system", Content = system }];
    }

    /// <summary>Reads on a thread of its own: a terminal's read cannot be cancelled, and Ctrl-C has to end the wait at once.</summary>
    private static Task<string?> ReadLineAsync(TextReader input, CancellationToken cancellationToken)
    {
        return Task.Run(input.ReadLine, CancellationToken.None).WaitAsync(cancellationToken);
    }
}
