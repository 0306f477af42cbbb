namespace InferenceServer.Engine.Errors;

/// <summary>What was asked does not go together with what is merged now.</summary>
public sealed class MergeConflictException : Exception
{
    public MergeConflictException(string message)
        : base(message)
    {
    }
}
