using Google.Protobuf.WellKnownTypes;
using InferenceServer.Training.Jobs;
using InferenceServer.Training.Runs;
using V1 = InferenceServer.Protocol.V1;

namespace InferenceServer.Server.Training;

/// <summary>Jobs and their events as the protocol says them.</summary>
internal static class TrainingMessages
{
    public static V1.TrainingJob Write(StoredJob job, int queuePosition)
    {
        TrainingJob now = job.Current;
        return new V1.TrainingJob
        {
            Id = now.Id,
            Spec = TrainingSpecs.Write(job.Spec),
            State = State(now.State),
            CreatedAt = Timestamp.FromDateTimeOffset(now.CreatedAt),
            StartedAt = Time(now.StartedAt),
            EndedAt = Time(now.EndedAt),
            Step = now.Step,
            TotalSteps = now.TotalSteps,
            Loss = now.Loss,
            BestLoss = now.BestLoss ?? 0,
            BestStep = now.BestStep,
            Error = now.Error ?? "",
            PublishedAdapter = now.PublishedAdapter ?? "",
            QueuePosition = queuePosition,
            Costs = new V1.TrainingCosts
            {
                TrainableParameters = now.Costs.TrainableParameters,
                AdapterBytes = now.Costs.AdapterBytes,
                PeakBytes = now.Costs.PeakBytes,
                BaseBytes = now.Costs.BaseBytes,
                TrainingSeconds = now.Costs.TrainingSeconds,
                TokensPerSecond = now.Costs.TokensPerSecond,
            },
            ExactMatch = now.ExactMatch is { } match ? Write(match) : null,
            LastEvent = now.LastEvent,
        };
    }

    public static V1.TrainingEvent Write(JobEvent numbered)
    {
        TrainingEvent happened = numbered.Happened;
        V1.TrainingEvent message = new()
        {
            Number = numbered.Number,
            Time = Timestamp.FromDateTimeOffset(happened.Time),
            Step = happened.Step,
        };
        switch (happened)
        {
            case JobStateChanged changed:
                message.State = State(changed.State);
                break;
            case RunStarted started:
                message.Started = new V1.RunStarted
                {
                    TotalSteps = started.TotalSteps,
                    Samples = started.SampleCount,
                    HeldOut = started.HeldOutCount,
                    TrainableParameters = started.TrainableParameters,
                    ResumedFrom = started.Step,
                    DamagedCheckpoints = { started.DamagedCheckpoints.Select(WithoutFolder) },
                };
                break;
            case StepDone step:
                message.StepDone = new V1.StepDone
                {
                    Loss = step.Loss,
                    GradientNorm = step.GradientNorm,
                    LearningRate = step.LearningRate,
                    Epoch = step.Epoch,
                    TokensPerSecond = step.TokensPerSecond,
                    TimeLeft = Duration.FromTimeSpan(step.TimeLeft),
                };
                break;
            case Evaluated evaluated:
                message.Evaluated = new V1.Evaluated { Loss = evaluated.Loss, Perplexity = evaluated.Perplexity, Best = evaluated.IsBest };
                break;
            case CheckpointSaved saved:
                message.Checkpoint = new V1.CheckpointSaved { Name = Path.GetFileName(saved.Folder) };
                break;
            case ExactMatchMeasured match:
                message.ExactMatch = Write(match);
                break;
            case AdapterPublished published:
                message.Published = published.Adapter;
                break;
            case RunFailed failed:
                message.Error = failed.Reason;
                break;
        }

        return message;
    }

    private static V1.ExactMatch Write(ExactMatchMeasured match) => new() { Right = match.Right, Total = match.Total };

    private static V1.TrainingState State(JobState state) => state switch
    {
        JobState.Queued => V1.TrainingState.Queued,
        JobState.Running => V1.TrainingState.Running,
        JobState.Completed => V1.TrainingState.Completed,
        JobState.StoppedEarly => V1.TrainingState.StoppedEarly,
        JobState.Cancelled => V1.TrainingState.Cancelled,
        _ => V1.TrainingState.Failed,
    };

    private static Timestamp? Time(DateTimeOffset? time) => time is { } at ? Timestamp.FromDateTimeOffset(at) : null;

    /// <summary>A damaged checkpoint is told as <c>'folder': reason</c>; where the folder lies is nobody's business.</summary>
    private static string WithoutFolder(string damage)
    {
        int end = damage.IndexOf("': ", StringComparison.Ordinal);
        return end < 0 ? damage : $"'{Path.GetFileName(damage[1..end])}{damage[end..]}";
    }
}
