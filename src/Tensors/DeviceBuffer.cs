namespace InferenceServer.Tensors;

/// <summary>
/// Owned memory of one device. Whoever allocates disposes; a <see cref="TensorView"/> never owns. Only the backend that made a buffer
/// looks inside it.
/// </summary>
public abstract class DeviceBuffer : IDisposable
{
    protected DeviceBuffer(long byteCount, string label)
    {
        ByteCount = byteCount;
        Label = label;
    }

    /// <summary>Size in bytes.</summary>
    public long ByteCount { get; }

    /// <summary>What it is for; named in errors and leak reports.</summary>
    public string Label { get; }

    public void Dispose()
    {
        Dispose(true);
        GC.SuppressFinalize(this);
    }

    protected abstract void Dispose(bool disposing);
}
