using System.Globalization;
using InferenceServer.Cli.Rendering;
using InferenceServer.Protocol.V1;

namespace InferenceServer.Cli.Jobs;

/// <summary>Values of jobs as people read them.</summary>
internal static class JobText
{
    public static string State(TrainingState state)
    {
        return state switch
        {
            TrainingState.Queued => "queued",
            TrainingState.Running => "running",
            TrainingState.Completed => "completed",
            TrainingState.StoppedEarly => "stopped early",
            TrainingState.Cancelled => "cancelled",
            TrainingState.Failed => "failed",
            _ => "unknown",
        };
    }

    public static string Loss(double loss)
    {
        return loss.ToString(Math.Abs(loss) is > 0 and < 0.001 or >= 1e6 ? "0.###E+0" : "0.0000", CultureInfo.InvariantCulture);
    }

    public static string Duration(TimeSpan time)
    {
        return time.ToString(time.TotalHours >= 1 ? @"d\.hh\:mm\:ss" : @"m\:ss", CultureInfo.InvariantCulture);
    }

    public static string Share(ExactMatch match)
    {
        return string.Create(
            CultureInfo.InvariantCulture, $"{match.Right} of {match.Total} ({100.0 * match.Right / Math.Max(1, match.Total):0.#} %)");
    }

    /// <summary>name@digest with the digest as the other tables show it.</summary>
    public static string Adapter(string reference)
    {
        int at = reference.IndexOf('@', StringComparison.Ordinal);
        return at < 0 ? reference : $"{reference[..at]}@{Format.Digest(reference[(at + 1)..])}";
    }
}
