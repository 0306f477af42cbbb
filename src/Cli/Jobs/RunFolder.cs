using Google.Protobuf;
using InferenceServer.Cli.Charts;
using InferenceServer.Protocol.V1;

namespace InferenceServer.Cli.Jobs;

/// <summary>What a watched job leaves on this machine: <c>log.jsonl</c> (every event), <c>loss.svg</c> and <c>summary.json</c>.</summary>
internal sealed class RunFolder : IDisposable
{
    private static readonly JsonFormatter s_summary =
        new(JsonFormatter.Settings.Default.WithFormatDefaultValues(true).WithIndentation());

    private readonly StreamWriter _log;

    /// <exception cref="IOException">The folder cannot be written.</exception>
    public RunFolder(string path)
    {
        Path = Directory.CreateDirectory(path).FullName;
        _log = new StreamWriter(System.IO.Path.Combine(Path, "log.jsonl"), append: false) { AutoFlush = true };
    }

    public string Path { get; }

    /// <summary>Where a job's folder is when nobody says.</summary>
    public static string DefaultPath(TrainingJob job) => System.IO.Path.Combine("runs", $"{job.Spec.Adapter}-{job.Id}");

    /// <summary>The curve of a job's losses.</summary>
    public static LineChart Chart(TrainingJob job, JobProgress progress) => new()
    {
        Title = $"{job.Spec.Adapter}: loss over steps",
        XLabel = "step",
        YLabel = "loss",
        Series =
        [
            new ChartSeries("training", progress.Losses, HasMarkers: false),
            new ChartSeries("held out", progress.HeldOut, HasMarkers: true),
        ],
    };

    public void Add(TrainingEvent happened) => _log.WriteLine(JsonFormatter.Default.Format(happened));

    /// <summary>Writes the picture and the summary.</summary>
    public void Finish(TrainingJob job, JobProgress progress)
    {
        File.WriteAllText(System.IO.Path.Combine(Path, "loss.svg"), Chart(job, progress).ToSvg());
        File.WriteAllText(System.IO.Path.Combine(Path, "summary.json"), s_summary.Format(job) + "\n");
    }

    public void Dispose() => _log.Dispose();
}
