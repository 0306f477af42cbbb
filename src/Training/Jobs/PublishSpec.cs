namespace InferenceServer.Training.Jobs;

/// <summary>What becomes of a finished adapter.</summary>
public sealed record PublishSpec
{
    public PublishMode Mode { get; init; } = PublishMode.Current;

    /// <summary>Null for the best where there is one, else the last.</summary>
    public AdapterChoice? Which { get; init; }

    /// <summary>Also bring it onto the device.</summary>
    public bool Load { get; init; }

    /// <summary>Also keep it there.</summary>
    public bool Pin { get; init; }
}
