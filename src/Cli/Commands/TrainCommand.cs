using System.CommandLine;
using Google.Protobuf;
using InferenceServer.Cli.Jobs;
using InferenceServer.Protocol.V1;

namespace InferenceServer.Cli.Commands;

/// <summary><c>train --data FILE --adapter NAME</c>: starts a job and watches it; Ctrl-C leaves it running.</summary>
internal static class TrainCommand
{
    public static Command Create(GlobalOptions global)
    {
        Option<FileInfo> data = new("--data")
        {
            Description = "JSON lines of {\"prompt\", \"completion\"}, {\"messages\"} or {\"text\"}.",
            HelpName = "file",
            Required = true,
        };
        data.AcceptExistingOnly();
        Option<string?> adapter = new("--adapter", "-a") { Description = "The adapter to make; a name that exists gets a new version." };
        Option<FileInfo?> specFile = new("--spec") { Description = "A TrainingSpec as JSON; other options go over it." };
        Option<string?> publish = RunOptions.OneOf(
            "--publish", "What becomes of the adapter: current (default), staged or none.", "current", "staged", "none");
        Option<string?> which = RunOptions.OneOf(
            "--which", "Publish the best (default: lowest held-out loss) or the last adapter.", "best", "last");
        Option<bool> load = new("--load") { Description = "Bring it onto the device too." };
        Option<bool> pin = new("--pin") { Description = "Keep it on the device." };
        Option<bool> detach = new("--detach") { Description = "Start the job and return." };
        Option<DirectoryInfo?> folder = new("--out") { Description = "Folder of log.jsonl, loss.svg, summary.json; default runs/ADAPTER-JOB." };
        MethodOptions method = new();
        RunOptions run = new();
        Command command = new("train", "Train an adapter on the server and publish it.") { data, adapter };
        method.AddTo(command);
        run.AddTo(command);
        foreach (Option option in (Option[])[specFile, publish, which, load, pin, detach, folder])
        {
            command.Add(option);
        }

        command.SetAction((parsed, cancellationToken) => Session.RunAsync(parsed, global, async (session, token) =>
        {
            TrainingSpec spec = parsed.GetValue(specFile) is { } file ? ReadSpec(file) : new TrainingSpec();
            spec.Adapter = parsed.GetValue(adapter) ?? spec.Adapter;
            if (spec.Adapter.Length == 0)
            {
                throw new UsageException("--adapter names the adapter to make, and is missing");
            }

            run.WriteTo(spec, parsed);
            method.WriteTo(spec, parsed);
            spec.Publish ??= new PublishSettings();
            spec.Publish.Mode = parsed.GetValue(publish) ?? spec.Publish.Mode;
            spec.Publish.Which = parsed.GetValue(which) ?? spec.Publish.Which;
            spec.Publish.Load |= parsed.GetValue(load);
            spec.Publish.Pin |= parsed.GetValue(pin);

            TrainingJob job = await session.Client.Training.StartAsync(spec, parsed.GetRequiredValue(data).FullName, token);
            if (parsed.GetValue(detach))
            {
                PrintStarted(session, job);
                return;
            }

            using RunFolder runFolder = new(parsed.GetValue(folder)?.FullName ?? RunFolder.DefaultPath(job));
            if (!session.Json)
            {
                await session.Output.WriteLineAsync(Started(job));
            }

            JobWatcher.Report(session, await JobWatcher.WatchAsync(session, job, runFolder, token), runFolder);
        }, cancellationToken));
        return command;
    }

    private static TrainingSpec ReadSpec(FileInfo file)
    {
        try
        {
            return JsonParser.Default.Parse<TrainingSpec>(File.ReadAllText(file.FullName));
        }
        catch (Exception error) when (error is InvalidProtocolBufferException or InvalidJsonException)
        {
            throw new UsageException($"{file.Name} is no TrainingSpec: {error.Message}");
        }
    }

    private static void PrintStarted(Session session, TrainingJob job)
    {
        if (session.Json)
        {
            session.WriteJson(job);
            return;
        }

        session.Output.WriteLine($"{Started(job)}; 'inferencectl jobs watch {job.Id}' shows it");
    }

    private static string Started(TrainingJob job)
    {
        return job.QueuePosition > 0
            ? $"job {job.Id} waits for {job.QueuePosition} before it"
            : $"job {job.Id} started";
    }
}
