using System.CommandLine;
using InferenceServer.Client;

namespace InferenceServer.Cli.Commands;

/// <summary><c>generate PROMPT</c>: streams the continuation.</summary>
internal static class GenerateCommand
{
    public static Command Create(GlobalOptions global, TextReader input)
    {
        Argument<string> prompt = new("prompt")
        {
            Description = "The text to continue; '-' or nothing reads it from standard input.",
            Arity = ArgumentArity.ZeroOrOne,
            DefaultValueFactory = _ => "-",
        };
        Option<bool> usage = new("--usage") { Description = "Print token counts and times at the end, to standard error." };
        SamplingOptions sampling = new();
        Command command = new("generate", "Continue a text, streaming.") { prompt, usage };
        sampling.AddTo(command);
        command.SetAction((parsed, cancellationToken) => Session.RunAsync(parsed, global, async (session, token) =>
        {
            string text = parsed.GetValue(prompt)!;
            if (text == "-")
            {
                text = await input.ReadToEndAsync(token);
            }

            GenerationSettings settings = sampling.Read(parsed, session.Timeout);
            TextWriter? errors = parsed.GetValue(usage) ? parsed.InvocationConfiguration.Error : null;
            await StreamedAnswer.PrintAsync(session, session.Client.GenerateAsync(text, settings, token), errors);
        }, cancellationToken));
        return command;
    }
}
