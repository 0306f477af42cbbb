namespace InferenceServer.Tensors;

/// <summary>A device has too little free memory for what was asked; nothing else is lost.</summary>
public sealed class DeviceMemoryException : Exception
{
    /// <param name="message">What was asked for, and what there is.</param>
    /// <param name="isShared">See <see cref="IsShared"/>.</param>
    public DeviceMemoryException(string message, bool isShared = false)
        : base(message) => IsShared = isShared;

    /// <summary>Whether it was missing in the memory that adapters share with KV blocks: others may make room, and the same may fit then.</summary>
    public bool IsShared { get; }
}
