namespace InferenceServer.AdapterStore.Catalog;

/// <summary>What an upload may meet, and what it becomes.</summary>
[Flags]
public enum UploadMode
{
    /// <summary>A new version of the name, if it exists; current from then on.</summary>
    None = 0,

    /// <summary>Refused when the name exists.</summary>
    MustBeNew = 1,

    /// <summary>Stored, but not current until it is activated.</summary>
    StageOnly = 2,
}
