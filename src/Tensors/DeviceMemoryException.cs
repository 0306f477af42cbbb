namespace InferenceServer.Tensors;

/// <summary>A device has too little free memory for what was asked; nothing else is lost.</summary>
public sealed class DeviceMemoryException : Exception
{
    public DeviceMemoryException(string message)
        : base(message)
    {
    }
}
