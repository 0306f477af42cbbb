namespace InferenceServer.Training.Jobs;

/// <summary>How a finished adapter enters the catalog.</summary>
public enum PublishMode
{
    /// <summary>It is served at once under its name.</summary>
    Current,

    /// <summary>It is a version that is not current until it is activated.</summary>
    Staged,

    /// <summary>Not at all; it stays in the job's folder.</summary>
    None,
}
