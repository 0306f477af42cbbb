using System.Diagnostics.Metrics;
using InferenceServer.Training.Jobs;
using InferenceServer.Training.Runs;

namespace InferenceServer.Server.Training;

/// <summary>The instruments of training, meter <c>InferenceServer.Training</c>.</summary>
public sealed class TrainingMetrics : IDisposable
{
    internal const string MeterName = "InferenceServer.Training";

    private readonly Meter _meter = new(MeterName);
    private readonly Counter<long> _steps;
    private readonly Counter<long> _tokens;
    private double _pace;

    public TrainingMetrics(JobStore store)
    {
        ArgumentNullException.ThrowIfNull(store);
        _steps = _meter.CreateCounter<long>("training.steps", "{step}", "Training steps done");
        _tokens = _meter.CreateCounter<long>("training.tokens", "{token}", "Tokens of training steps");
        _meter.CreateObservableUpDownCounter("training.jobs", () => CountJobs(store), "{job}", "Training jobs by state");
        _meter.CreateObservableGauge(
            "training.pace", () => Volatile.Read(ref _pace), "{token}/s", "Tokens per second of the last training step; 0 when no job runs");
    }

    /// <summary>Counts an event of a run.</summary>
    public void Record(TrainingEvent happened)
    {
        if (happened is StepDone step)
        {
            _steps.Add(1);
            _tokens.Add(step.Tokens);
            Volatile.Write(ref _pace, step.TokensPerSecond);
        }
    }

    /// <summary>No job runs.</summary>
    public void EndRun() => Volatile.Write(ref _pace, 0);

    public void Dispose() => _meter.Dispose();

    private static IEnumerable<Measurement<int>> CountJobs(JobStore store)
    {
        Dictionary<JobState, int> counts = store.List().GroupBy(job => job.Current.State).ToDictionary(group => group.Key, group => group.Count());
        return Enum.GetValues<JobState>().Select(state => new Measurement<int>(
            counts.GetValueOrDefault(state), new KeyValuePair<string, object?>("state", TrainingJobs.Word(state).Replace(' ', '_'))));
    }
}
