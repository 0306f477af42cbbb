namespace InferenceServer.TestKit.Cuda;

/// <summary>When the work given to streams is done.</summary>
public enum StreamOrder
{
    /// <summary>When it is given.</summary>
    AtOnce,

    /// <summary>When something waits for it, and no sooner: shows what is read without a wait.</summary>
    Lazy,

    /// <summary>
    /// Before a stream is waited for, the others run as far as events let them: shows memory that is written while still to be read.
    /// </summary>
    OthersFirst,

    /// <summary>By chance, with a seed.</summary>
    Shuffled,
}
