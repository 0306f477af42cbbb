using System.CommandLine;
using InferenceServer.Cli.Jobs;
using InferenceServer.Cli.Rendering;
using InferenceServer.Client;
using InferenceServer.Protocol.V1;

namespace InferenceServer.Cli.Commands;

/// <summary><c>jobs ...</c>: look at, watch, stop, resume and remove training jobs.</summary>
internal static class JobCommands
{
    public static Command Create(GlobalOptions global)
    {
        return new Command("jobs", "Manage the server's training jobs.")
        {
            List(global),
            One(global, "get", "Show one job in full.", (training, job, token) => training.GetAsync(job, token)),
            Watch(global),
            One(global, "cancel", "Stop a job after its step; it can be resumed.", (training, job, token) => training.CancelAsync(job, token)),
            One(global, "resume", "Let a stopped job go on from its checkpoint.", (training, job, token) => training.ResumeAsync(job, token)),
            Delete(global),
        };
    }

    private static Command List(GlobalOptions global)
    {
        Command command = new("list", "List the jobs, latest first.");
        command.SetAction((parsed, cancellationToken) => Session.RunAsync(parsed, global, async (session, token) =>
        {
            ListTrainingJobsResponse whole = new();
            await foreach (TrainingJob job in session.Client.Training.ListAsync(token))
            {
                whole.Jobs.Add(job);
            }

            if (session.Json)
            {
                session.WriteJson(whole);
            }
            else if (whole.Jobs.Count == 0)
            {
                await session.Output.WriteLineAsync("no jobs");
            }
            else
            {
                session.Console.Write(JobView.Table(whole.Jobs));
            }
        }, cancellationToken));
        return command;
    }

    private static Command One(
        GlobalOptions global, string name, string description, Func<TrainingClient, string, CancellationToken, Task<TrainingJob>> call)
    {
        Argument<string> id = JobArgument();
        Command command = new(name, description) { id };
        command.SetAction((parsed, cancellationToken) => Session.RunAsync(parsed, global, async (session, token) =>
        {
            TrainingJob job = await call(session.Client.Training, parsed.GetRequiredValue(id), token);
            if (session.Json)
            {
                session.WriteJson(job);
                return;
            }

            session.Console.Write(JobView.Details(job));
        }, cancellationToken));
        return command;
    }

    private static Command Watch(GlobalOptions global)
    {
        Argument<string> id = JobArgument();
        Option<DirectoryInfo?> folder = new("--out") { Description = "Folder of log.jsonl, loss.svg, summary.json; none by default." };
        Command command = new("watch", "Show a job's progress until it ends; Ctrl-C leaves it running.") { id, folder };
        command.SetAction((parsed, cancellationToken) => Session.RunAsync(parsed, global, async (session, token) =>
        {
            TrainingJob job = await session.Client.Training.GetAsync(parsed.GetRequiredValue(id), token);
            using RunFolder? runFolder = parsed.GetValue(folder) is { } path ? new RunFolder(path.FullName) : null;
            JobWatcher.Report(session, await JobWatcher.WatchAsync(session, job, runFolder, token), runFolder);
        }, cancellationToken));
        return command;
    }

    private static Command Delete(GlobalOptions global)
    {
        Argument<string> id = JobArgument();
        Command command = new("delete", "Remove a job and its checkpoints; what it published stays.") { id };
        command.SetAction((parsed, cancellationToken) => Session.RunAsync(parsed, global, async (session, token) =>
        {
            DeleteTrainingJobResponse reply = await session.Client.Training.DeleteAsync(parsed.GetRequiredValue(id), token);
            if (session.Json)
            {
                session.WriteJson(reply);
                return;
            }

            await session.Output.WriteLineAsync($"deleted, freed {Format.Bytes(reply.FreedBytes)} on disk");
        }, cancellationToken));
        return command;
    }

    private static Argument<string> JobArgument()
    {
        return new Argument<string>("job") { Description = "The job's id." };
    }
}
