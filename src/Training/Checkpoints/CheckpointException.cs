namespace InferenceServer.Training.Checkpoints;

/// <summary>A checkpoint that cannot be written, or cannot be gone on from; the message names its folder.</summary>
public sealed class CheckpointException : Exception
{
    public CheckpointException(string message, Exception? inner = null)
        : base(message, inner)
    {
    }
}
