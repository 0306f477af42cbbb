namespace InferenceServer.Training.Jobs;

/// <summary>Which adapter of a run is published.</summary>
public enum AdapterChoice
{
    /// <summary>That of the lowest held-out loss.</summary>
    Best,

    /// <summary>That of the last step.</summary>
    Last,
}
