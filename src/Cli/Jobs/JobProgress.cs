using InferenceServer.Cli.Charts;
using InferenceServer.Protocol.V1;

namespace InferenceServer.Cli.Jobs;

/// <summary>How a job stands, put together from its events.</summary>
internal sealed class JobProgress
{
    private readonly List<ChartPoint> _losses = [];
    private readonly List<ChartPoint> _heldOut = [];

    public TrainingState State { get; private set; }

    public int Step { get; private set; }

    public int TotalSteps { get; private set; }

    /// <summary>Loss by step.</summary>
    public IReadOnlyList<ChartPoint> Losses => _losses;

    /// <summary>Held-out loss by step.</summary>
    public IReadOnlyList<ChartPoint> HeldOut => _heldOut;

    public double TokensPerSecond { get; private set; }

    /// <summary>Of the training; null before its first step.</summary>
    public TimeSpan? TimeLeft { get; private set; }

    public string Error { get; private set; } = "";

    /// <summary>Whether nothing more will happen unless the job is resumed.</summary>
    public bool IsAtRest => IsRest(State);

    public static bool IsRest(TrainingState state)
    {
        return state is TrainingState.Completed or TrainingState.StoppedEarly or TrainingState.Cancelled or TrainingState.Failed;
    }

    public void Apply(TrainingEvent happened)
    {
        switch (happened.HappenedCase)
        {
            case TrainingEvent.HappenedOneofCase.State:
                State = happened.State;
                break;
            case TrainingEvent.HappenedOneofCase.Started:
                Begin(happened.Started);
                break;
            case TrainingEvent.HappenedOneofCase.StepDone:
                Step = happened.Step;
                TokensPerSecond = happened.StepDone.TokensPerSecond;
                TimeLeft = happened.StepDone.TimeLeft?.ToTimeSpan();
                _losses.Add(new ChartPoint(happened.Step, happened.StepDone.Loss));
                break;
            case TrainingEvent.HappenedOneofCase.Evaluated:
                _heldOut.Add(new ChartPoint(happened.Step, happened.Evaluated.Loss));
                break;
            case TrainingEvent.HappenedOneofCase.Error:
                Error = happened.Error;
                break;
        }
    }

    private void Begin(RunStarted started)
    {
        TotalSteps = started.TotalSteps;
        Step = started.ResumedFrom;
        Error = "";

        // Steps after the checkpoint are done again.
        _losses.RemoveAll(point => point.X > started.ResumedFrom);
        _heldOut.RemoveAll(point => point.X > started.ResumedFrom);
    }
}
