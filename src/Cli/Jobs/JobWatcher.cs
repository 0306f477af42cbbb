using InferenceServer.Protocol.V1;
using Spectre.Console;

namespace InferenceServer.Cli.Jobs;

/// <summary>Shows a job until it is at rest: a bar on a terminal, lines elsewhere, JSON when asked for.</summary>
internal static class JobWatcher
{
    /// <summary>Watches to the end and returns the job as it is then.</summary>
    /// <param name="session">Where it goes, and in which form.</param>
    /// <param name="job">The job.</param>
    /// <param name="folder">Takes the events, the picture and the summary; null for none.</param>
    /// <param name="cancellationToken">Stops watching.</param>
    /// <exception cref="DetachedException">Watching was stopped; the job goes on.</exception>
    public static async Task<TrainingJob> WatchAsync(
        Session session, TrainingJob job, RunFolder? folder, CancellationToken cancellationToken)
    {
        JobProgress progress = new();
        try
        {
            if (session.Json || !session.Console.Profile.Capabilities.Interactive)
            {
                await ReadAsync(session, job, folder, progress, happened => Print(session, happened, progress), cancellationToken);
            }
            else
            {
                await session.Console.Progress()
                    .Columns(new ProgressBarColumn(), new PercentageColumn(), new TaskDescriptionColumn { Alignment = Justify.Left })
                    .StartAsync(async context =>
                    {
                        ProgressTask bar = context.AddTask(JobText.State(job.State));
                        await ReadAsync(session, job, folder, progress, _ => Move(bar, progress), cancellationToken);
                    });
            }

            TrainingJob ended = await session.Client.Training.GetAsync(job.Id, cancellationToken);
            folder?.Finish(ended, progress);
            return ended;
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            throw DetachedException.From(job.Id, cancellationToken);
        }
    }

    /// <summary>Prints how a job ended, and fails when it did not succeed.</summary>
    /// <exception cref="CommandFailedException">The job failed or was cancelled.</exception>
    public static void Report(Session session, TrainingJob job, RunFolder? folder)
    {
        if (session.Json)
        {
            session.WriteJsonLine(job);
        }
        else
        {
            foreach (string line in Summary(job))
            {
                session.Output.WriteLine(line);
            }

            if (folder is not null)
            {
                session.Output.WriteLine($"log, picture and summary in {folder.Path}");
            }
        }

        if (job.State == TrainingState.Failed)
        {
            throw new CommandFailedException($"job {job.Id} failed at step {job.Step}: {job.Error}");
        }

        if (job.State == TrainingState.Cancelled)
        {
            throw new CommandFailedException(
                $"job {job.Id} was cancelled at step {job.Step}; 'inferencectl jobs resume {job.Id}' lets it go on");
        }
    }

    internal static IEnumerable<string> Summary(TrainingJob job)
    {
        if (job.BestStep > 0)
        {
            yield return $"best held-out loss {JobText.Loss(job.BestLoss)} at step {job.BestStep} of {job.TotalSteps}";
        }

        if (job.ExactMatch is { Total: > 0 } match)
        {
            yield return $"exact match {JobText.Share(match)}";
        }

        if (job.PublishedAdapter.Length > 0)
        {
            yield return $"published {job.PublishedAdapter}";
        }
    }

    private static async Task ReadAsync(
        Session session,
        TrainingJob job,
        RunFolder? folder,
        JobProgress progress,
        Action<TrainingEvent> show,
        CancellationToken cancellationToken)
    {
        await foreach (TrainingEvent happened in session.Client.Training.WatchAsync(job.Id, cancellationToken: cancellationToken))
        {
            progress.Apply(happened);
            folder?.Add(happened);
            show(happened);
        }
    }

    private static void Print(Session session, TrainingEvent happened, JobProgress progress)
    {
        if (session.Json)
        {
            session.WriteJsonLine(happened);
        }
        else if (ProgressText.Line(happened, progress) is { } line)
        {
            session.Output.WriteLine(line);
            session.Output.Flush();
        }
    }

    private static void Move(ProgressTask bar, JobProgress progress)
    {
        bar.MaxValue = Math.Max(1, progress.TotalSteps);
        bar.Value = progress.Step;
        bar.Description = Markup.Escape(ProgressText.Beside(progress));
    }
}
