namespace InferenceServer.Tensors;

/// <summary>A device failed in a way that no later operation of this process can recover from; the process has to start again.</summary>
public sealed class DeviceLostException : Exception
{
    public DeviceLostException(string message, Exception inner)
        : base(message, inner)
    {
    }
}
