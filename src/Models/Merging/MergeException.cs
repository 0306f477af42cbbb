namespace InferenceServer.Models.Merging;

/// <summary>An adapter that cannot be merged; the message says which module and why.</summary>
public sealed class MergeException : Exception
{
    public MergeException(string message)
        : base(message)
    {
    }
}
