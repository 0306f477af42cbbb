namespace InferenceServer.Training.Optimisation;

/// <summary>Shape of the learning rate over the steps, after the warm-up.</summary>
public enum ScheduleKind
{
    Constant,

    /// <summary>Straight down to 0 at the last step.</summary>
    Linear,

    /// <summary>Half a cosine down to 0 at the last step.</summary>
    Cosine,
}
