namespace InferenceServer.Models.Tokenization.PreTokenization;

/// <summary>What becomes of the matches that text is split at.</summary>
internal enum SplitBehavior
{
    /// <summary>They are dropped.</summary>
    Removed,

    /// <summary>Each is a piece of its own.</summary>
    Isolated,

    /// <summary>Neighbouring ones are one piece.</summary>
    Contiguous,

    /// <summary>They go to the end of the piece before.</summary>
    MergedWithPrevious,

    /// <summary>They go to the beginning of the piece after.</summary>
    MergedWithNext,
}
