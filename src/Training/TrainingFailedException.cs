namespace InferenceServer.Training;

/// <summary>A run that cannot go on: the loss or the gradients are no numbers any more. The parameters are as before the step.</summary>
public sealed class TrainingFailedException : Exception
{
    public TrainingFailedException(string message, Exception? inner = null)
        : base(message, inner)
    {
    }
}
