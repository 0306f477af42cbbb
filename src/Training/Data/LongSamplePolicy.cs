namespace InferenceServer.Training.Data;

/// <summary>What becomes of a sample with more than <see cref="DatasetOptions.MaxSampleTokens"/> tokens.</summary>
public enum LongSamplePolicy
{
    /// <summary>Its first tokens are learnt; one whose labels are all cut off is an error.</summary>
    Truncate,

    /// <summary>It is an error.</summary>
    Reject,

    /// <summary>It is left out.</summary>
    Drop,
}
