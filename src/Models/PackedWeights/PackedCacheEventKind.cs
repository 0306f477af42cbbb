namespace InferenceServer.Models.PackedWeights;

/// <summary>Kinds of <see cref="PackedCacheEvent"/>.</summary>
public enum PackedCacheEventKind
{
    /// <summary>The weights were read from the file.</summary>
    Used,

    /// <summary>The file is broken or of something else; it was removed and the weights were packed from the checkpoint.</summary>
    Refused,

    /// <summary>The weights of this start were written, for the next one.</summary>
    Saved,

    /// <summary>They could not be written; nothing is lost but the next start's time.</summary>
    NotSaved,

    /// <summary>A file that was used longest ago made room.</summary>
    Evicted,
}
