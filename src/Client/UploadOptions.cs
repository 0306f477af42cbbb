namespace InferenceServer.Client;

/// <summary>What becomes of an uploaded adapter.</summary>
public sealed record UploadOptions
{
    /// <summary>Refuse when the name exists already.</summary>
    public bool MustBeNew { get; init; }

    /// <summary>Bring it onto the device before the upload returns.</summary>
    public bool Load { get; init; }

    /// <summary>Keep it on the device.</summary>
    public bool Pin { get; init; }

    /// <summary>Upload as a version that is not current yet; <see cref="AdapterClient.ActivateAsync"/> makes it so.</summary>
    public bool StageOnly { get; init; }

    /// <summary>Longest time that the upload may take; null for any.</summary>
    public TimeSpan? Timeout { get; init; }
}
