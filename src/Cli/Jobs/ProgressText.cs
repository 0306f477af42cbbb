using System.Globalization;
using InferenceServer.Cli.Rendering;
using InferenceServer.Protocol.V1;

namespace InferenceServer.Cli.Jobs;

/// <summary>A job's progress in words.</summary>
internal static class ProgressText
{
    // How many lines the steps of a run make where no bar can be drawn.
    private const int StepLines = 20;

    /// <summary>What stands beside the bar.</summary>
    public static string Beside(JobProgress progress)
    {
        if (progress.IsAtRest || progress.Losses.Count == 0)
        {
            return JobText.State(progress.State);
        }

        string text = $"step {progress.Step}/{progress.TotalSteps}  loss {JobText.Loss(progress.Losses[^1].Y)}";
        if (progress.HeldOut.Count > 0)
        {
            text += $"  held-out {JobText.Loss(progress.HeldOut[^1].Y)}";
        }

        text += $"  {Format.Count((long)Math.Round(progress.TokensPerSecond))} tokens/s";
        return progress.TimeLeft is { } left ? $"{text}  {JobText.Duration(left)} left" : text;
    }

    /// <summary>The line that an event makes where no bar can be drawn; null for none.</summary>
    /// <param name="happened">The event.</param>
    /// <param name="progress">How things stand after it.</param>
    public static string? Line(TrainingEvent happened, JobProgress progress)
    {
        return happened.HappenedCase switch
        {
            TrainingEvent.HappenedOneofCase.Started => Start(happened.Started),
            TrainingEvent.HappenedOneofCase.StepDone => IsShown(happened.Step, progress.TotalSteps) ? Beside(progress) : null,
            TrainingEvent.HappenedOneofCase.Evaluated =>
                $"step {happened.Step}/{progress.TotalSteps}  held-out loss {JobText.Loss(happened.Evaluated.Loss)}, "
                    + $"perplexity {JobText.Loss(happened.Evaluated.Perplexity)}{(happened.Evaluated.Best ? ", best so far" : "")}",
            TrainingEvent.HappenedOneofCase.State => JobText.State(happened.State),
            _ => null,
        };
    }

    private static string Start(RunStarted started)
    {
        string text = $"{Format.Count(started.Samples)} samples to learn, {Format.Count(started.HeldOut)} held out, "
            + $"{Format.Count(started.TrainableParameters)} parameters, {Format.Count(started.TotalSteps)} steps";
        text += started.ResumedFrom > 0
            ? string.Create(CultureInfo.InvariantCulture, $", going on from step {started.ResumedFrom}")
            : "";
        return started.DamagedCheckpoints.Count > 0
            ? $"{text}; damaged checkpoints passed over: {string.Join(", ", started.DamagedCheckpoints)}"
            : text;
    }

    private static bool IsShown(int step, int total)
    {
        int interval = Math.Max(1, total / StepLines);
        return step % interval == 0 || step == total;
    }
}
