using System.CommandLine;
using InferenceServer.Cli.Jobs;
using InferenceServer.Cli.Rendering;
using InferenceServer.Protocol.V1;
using Spectre.Console;

namespace InferenceServer.Cli.Commands;

/// <summary><c>eval --data FILE</c>: how good the base and adapters are at a data set.</summary>
internal static class EvaluateCommand
{
    private const string Base = "(base)";

    public static Command Create(GlobalOptions global)
    {
        Option<FileInfo> data = new("--data") { Description = "JSON lines to judge by.", HelpName = "file", Required = true };
        data.AcceptExistingOnly();
        Option<string[]> adapters = new("--adapter", "-a")
        {
            Description = "name or name@digest, beside the base; may be given more than once.",
            AllowMultipleArgumentsPerToken = true,
        };
        Option<int> exactMatch = new("--exact-match")
        {
            Description = "Prompts to answer greedily and compare; -1 (default) for all, 0 for none.",
            DefaultValueFactory = _ => -1,
        };
        Option<int?> answerTokens = new("--exact-match-tokens") { Description = "Longest answer; default 64." };
        Option<int?> sampleTokens = new("--max-sample-tokens") { Description = "Longest sample; default 512." };
        Option<int> examples = new("--examples") { Description = "Wrong answers to show of each.", DefaultValueFactory = _ => 0 };
        Command command = new("eval", "Judge the base and adapters by a data set: loss, perplexity, exact match.")
        {
            data, adapters, exactMatch, answerTokens, sampleTokens, examples,
        };
        command.SetAction((parsed, cancellationToken) => Session.RunAsync(parsed, global, async (session, token) =>
        {
            EvaluateHeader header = new()
            {
                Data = new DataSettings { MaxSampleTokens = parsed.GetValue(sampleTokens) ?? 0 },
                ExactMatchSamples = parsed.GetValue(exactMatch),
                ExactMatchTokens = parsed.GetValue(answerTokens) ?? 0,
                MaxExamples = parsed.GetValue(examples),
            };
            List<(string Name, EvaluateResponse Result)> results = [];
            foreach (string adapter in (parsed.GetValue(adapters) ?? []).Prepend(""))
            {
                header.Adapter = adapter;
                EvaluateResponse result = await session.Client.Training.EvaluateAsync(
                    header, parsed.GetRequiredValue(data).FullName, token);
                if (session.Json)
                {
                    session.WriteJsonLine(result);
                }

                results.Add((adapter.Length == 0 ? Base : adapter, result));
            }

            if (!session.Json)
            {
                session.Console.Write(Table(results));
                await PrintWrongAsync(session.Output, results);
            }
        }, cancellationToken));
        return command;
    }

    private static Table Table(IEnumerable<(string Name, EvaluateResponse Result)> results)
    {
        Table table = new Table().Border(TableBorder.Simple).AddColumn(new TableColumn("Adapter").NoWrap());
        foreach (string column in (string[])["Tokens", "Loss", "Perplexity", "Exact match"])
        {
            table.AddColumn(new TableColumn(column).NoWrap().RightAligned());
        }

        foreach ((string name, EvaluateResponse result) in results)
        {
            table.AddRow(
                Markup.Escape(name),
                Format.Count(result.Tokens),
                JobText.Loss(result.Loss),
                JobText.Loss(result.Perplexity),
                result.ExactMatch is { Total: > 0 } match ? JobText.Share(match) : "-");
        }

        return table;
    }

    private static async Task PrintWrongAsync(TextWriter output, IEnumerable<(string Name, EvaluateResponse Result)> results)
    {
        foreach ((string name, EvaluateResponse result) in results)
        {
            foreach (WrongAnswer wrong in result.Wrong)
            {
                await output.WriteLineAsync(
                    $"{name}, line {wrong.Line}: '{wrong.Prompt}' gave '{wrong.Answer}', not '{wrong.Expected}'");
            }
        }
    }
}
