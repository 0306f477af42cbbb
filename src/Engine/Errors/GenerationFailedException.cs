namespace InferenceServer.Engine.Errors;

/// <summary>The engine could not go on with this generation, through no fault of the request; others are not affected.</summary>
public sealed class GenerationFailedException : Exception
{
    public GenerationFailedException(string message)
        : base(message)
    {
    }

    public GenerationFailedException(string message, Exception inner)
        : base(message, inner)
    {
    }
}
