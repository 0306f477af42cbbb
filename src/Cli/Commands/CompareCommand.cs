using System.CommandLine;
using System.Globalization;
using System.Numerics;
using System.Security.Cryptography;
using InferenceServer.Cli.Comparison;
using InferenceServer.Cli.Jobs;
using InferenceServer.Client;
using InferenceServer.Protocol.V1;

namespace InferenceServer.Cli.Commands;

/// <summary><c>compare --data FILE --out FOLDER</c>: every method on one task, each at its best learning rate.</summary>
internal static class CompareCommand
{
    private const int DefaultSteps = 200;
    private const int EvaluationsPerRun = 20;
    private const int DefaultExactMatch = 32;

    private static readonly double[] s_rates = [3e-4, 1e-3, 3e-3];
    private static readonly int[] s_ranks = [2, 8, 32];

    public static Command Create(GlobalOptions global)
    {
        Option<FileInfo> data = new("--data") { Description = "The task, as JSON lines.", HelpName = "file", Required = true };
        data.AcceptExistingOnly();
        Option<DirectoryInfo> folder = new("--out") { Description = "Takes table, picture and state.", Required = true };
        Option<string> methods = new("--methods")
        {
            Description = "all, or names with commas between.",
            DefaultValueFactory = _ => "all",
        };
        Option<int> rank = new("--rank") { Description = "Rank of every method.", DefaultValueFactory = _ => 8 };
        Option<string?> ranks = new("--ranks") { Description = "Ranks of lora and rslora, with commas between; default 2,8,32." };
        Option<string?> rates = new("--rates")
        {
            Description = "Learning rates for lora, which other methods multiply by their factor; default 3e-4,1e-3,3e-3.",
        };
        Option<double?> target = new("--target-loss") { Description = "Count the steps to this held-out loss; default 1.1 times lora's best." };
        Option<int> repeats = new("--repeats")
        {
            Description = "Other seeds of lora, to see what a seed alone changes.",
            DefaultValueFactory = _ => 2,
        };
        Option<string?> targets = new("--targets") { Description = "As train has it." };
        RunOptions run = new();
        Command command = new("compare", "Train with every method on one task and judge the papers' claims by it.")
        {
            data, folder, methods, rank, ranks, rates, target, repeats, targets,
        };
        run.AddTo(command);
        command.SetAction((parsed, cancellationToken) => Session.RunAsync(parsed, global, async (session, token) =>
        {
            TrainingSpec template = Template(run, parsed);
            FileInfo file = parsed.GetRequiredValue(data);
            string path = parsed.GetRequiredValue(folder).FullName;
            int common = parsed.GetValue(rank);
            string modules = parsed.GetValue(targets) ?? "";
            IReadOnlyList<Contender> contenders = Contenders.Create(
                Methods(parsed.GetValue(methods)!), common, List("--ranks", parsed.GetValue(ranks), s_ranks));
            ServerInfo server = await session.Client.GetInfoAsync(token);
            ComparisonState state = ComparisonState.Open(path, Conditions(template, file, server, common, modules));
            ServerTrialRunner runner = new(session.Client, template, file.FullName, AdapterSettings.ParseTargets(modules));
            ComparisonRun comparison = new(runner, state, line => Tell(session, line));
            double[] grid = List("--rates", parsed.GetValue(rates), s_rates);
            try
            {
                (IReadOnlyList<TunedContender> tuned, IReadOnlyList<Trial> repeated) = await comparison.RunAsync(
                    contenders,
                    grid,
                    contenders.FirstOrDefault(contender => contender.Method.Name == "lora" && contender.Rank == common),
                    parsed.GetValue(repeats),
                    token);
                ComparisonReport report = new(
                    new ComparisonTable(tuned, repeated, common, parsed.GetValue(target)), Describe(template, file, server));
                report.Write(path);
                Print(session, report, path);
            }
            catch (OperationCanceledException) when (token.IsCancellationRequested)
            {
                throw new DetachedException("interrupted; the job at hand goes on, and the same command takes all of it up again", token);
            }
        }, cancellationToken));
        return command;
    }

    private static TrainingSpec Template(RunOptions run, ParseResult parsed)
    {
        TrainingSpec template = new();
        run.WriteTo(template, parsed);
        if (template.Run.Epochs > 0)
        {
            throw new UsageException("compare counts steps; give --steps, not --epochs");
        }

        template.Run.Steps = template.Run.Steps == 0 ? DefaultSteps : template.Run.Steps;
        template.Evaluation.Every = template.Evaluation.Every == 0
            ? Math.Max(1, template.Run.Steps / EvaluationsPerRun)
            : template.Evaluation.Every;
        template.Evaluation.ExactMatchSamples = template.Evaluation.ExactMatchSamples == 0
            ? DefaultExactMatch
            : template.Evaluation.ExactMatchSamples;
        return template;
    }

    private static List<TrainingMethod> Methods(string text)
    {
        if (text == "all")
        {
            return [.. Contenders.Methods];
        }

        List<TrainingMethod> methods = [];
        foreach (string name in text.Split(',', StringSplitOptions.TrimEntries))
        {
            methods.Add(TrainingMethods.TryGet(name, out TrainingMethod? method) && !method.RoutesAdapters
                ? method
                : throw new UsageException($"--methods '{name}' is none of {string.Join(", ", Contenders.Methods.Select(each => each.Name))}"));
        }

        return methods;
    }

    private static T[] List<T>(string option, string? text, T[] otherwise)
        where T : struct, INumber<T>
    {
        if (text is null)
        {
            return otherwise;
        }

        List<T> values = [];
        foreach (string part in text.Split(',', StringSplitOptions.TrimEntries))
        {
            values.Add(T.TryParse(part, NumberStyles.Float, CultureInfo.InvariantCulture, out T value) && value > T.Zero
                ? value
                : throw new UsageException($"{option} '{part}' is not a number above 0"));
        }

        return [.. values.Distinct()];
    }

    private static Dictionary<string, string> Conditions(
        TrainingSpec template, FileInfo data, ServerInfo server, int rank, string targets) => new(StringComparer.Ordinal)
        {
            ["spec"] = template.ToString(),
            ["data set"] = Convert.ToHexStringLower(SHA256.HashData(File.ReadAllBytes(data.FullName))),
            ["model"] = server.Model.Name,
            ["rank"] = rank.ToString(CultureInfo.InvariantCulture),
            ["targets"] = targets,
        };

    private static string Describe(TrainingSpec template, FileInfo data, ServerInfo server) => string.Create(
        CultureInfo.InvariantCulture,
        $"""
        {server.Model.Name} ({server.Model.Parameters:N0} parameters, {server.Model.WeightFormat}) on {server.Device}; {data.Name},
        {template.Run.Steps} steps of at most {(template.Run.MaxBatchTokens == 0 ? 1024 : template.Run.MaxBatchTokens)} tokens, seed {template.Run.Seed}.
        """);

    private static void Tell(Session session, string line)
    {
        if (!session.Json)
        {
            session.Output.WriteLine(line);
            session.Output.Flush();
        }
    }

    private static void Print(Session session, ComparisonReport report, string folder)
    {
        if (session.Json)
        {
            session.Output.Write(report.ToJson());
            return;
        }

        session.Output.WriteLine();
        foreach (string line in report.VerdictLines())
        {
            session.Output.WriteLine(line);
        }

        session.Output.WriteLine($"table and picture in {folder}");
    }
}
