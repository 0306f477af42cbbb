using System.Text.Json.Serialization;
using InferenceServer.Training.Runs;

namespace InferenceServer.Training.Jobs;

/// <summary>A job at one moment. What its steps have come to is in its events; the rest is kept in <c>job.json</c>.</summary>
public sealed record TrainingJob
{
    public required string Id { get; init; }

    public required JobState State { get; init; }

    public required DateTimeOffset CreatedAt { get; init; }

    /// <summary>When it took its place in the queue; a resumed job takes a new one.</summary>
    public required DateTimeOffset QueuedAt { get; init; }

    /// <summary>When its first step could begin.</summary>
    public DateTimeOffset? StartedAt { get; init; }

    /// <summary>When it came to rest.</summary>
    public DateTimeOffset? EndedAt { get; init; }

    /// <summary>The base that it was started for, and its fingerprint.</summary>
    public required string BaseModel { get; init; }

    /// <inheritdoc cref="BaseModel"/>
    public required string BaseFingerprint { get; init; }

    public int Step { get; init; }

    public int TotalSteps { get; init; }

    /// <summary>Of the last step.</summary>
    public double Loss { get; init; }

    /// <summary>Lowest held-out loss; null before the first evaluation.</summary>
    public double? BestLoss { get; init; }

    /// <summary>The step after which it was measured.</summary>
    public int BestStep { get; init; }

    /// <summary>Why it failed.</summary>
    public string? Error { get; init; }

    /// <summary>Set once the training itself is done.</summary>
    public FinishedRun? Finished { get; init; }

    /// <summary>Set just before publishing.</summary>
    public PublishIntent? Publishing { get; init; }

    /// <summary>name@digest, once published.</summary>
    public string? PublishedAdapter { get; init; }

    public ExactMatchMeasured? ExactMatch { get; init; }

    public JobCosts Costs { get; init; } = new();

    /// <summary>Number of the last event.</summary>
    [JsonIgnore]
    public long LastEvent { get; init; }

    /// <summary>Whether nothing happens in it until somebody resumes it.</summary>
    [JsonIgnore]
    public bool IsAtRest => State is not (JobState.Queued or JobState.Running);

    /// <summary>The job after an event of its run.</summary>
    internal TrainingJob After(TrainingEvent happened) => happened switch
    {
        RunStarted started => this with
        {
            Step = started.Step,
            TotalSteps = started.TotalSteps,
            Costs = Costs with { TrainableParameters = started.TrainableParameters },
        },
        StepDone step => this with
        {
            Step = step.Step,
            Loss = step.Loss,
            Costs = Costs with
            {
                TrainingSeconds = Costs.TrainingSeconds + step.Seconds,
                Tokens = Costs.Tokens + step.Tokens,
                PeakBytes = Math.Max(Costs.PeakBytes, step.PeakBytes),
            },
        },
        Evaluated { IsBest: true } evaluated => this with { BestLoss = evaluated.Loss, BestStep = evaluated.Step },
        _ => this,
    };
}
