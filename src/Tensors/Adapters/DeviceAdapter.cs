namespace InferenceServer.Tensors.Adapters;

/// <summary>
/// An adapter resident on a device, in the layout that its backend applies fastest; made by
/// <see cref="IComputeBackend.CreateAdapter"/>. It must outlive every step that names it: see AdapterLease.
/// </summary>
public abstract class DeviceAdapter : IDisposable
{
    protected DeviceAdapter(string label, long byteCount)
    {
        Label = label;
        ByteCount = byteCount;
    }

    public string Label { get; }

    /// <summary>Device bytes of all parts.</summary>
    public long ByteCount { get; }

    /// <summary>Of these, bytes in a memory that adapters share with KV blocks.</summary>
    public virtual long SharedByteCount => 0;

    /// <summary>Whether the adapter changes this module at all.</summary>
    public abstract bool Changes(int module);

    /// <summary>The weight that takes the place of the base's (modules_to_save), or null.</summary>
    public abstract WeightMatrix? Replacement(int module);

    /// <summary>Whether the base's input of this module is scaled (IA3 on feed-forward modules).</summary>
    public abstract bool ScalesInput(int module);

    /// <summary>Whether rows of a vocabulary-sized weight are replaced (trainable tokens).</summary>
    public abstract bool ReplacesRows(int module);

    /// <summary>The replacement of a norm's weight, or null.</summary>
    public abstract DeviceBuffer? NormWeight(int module);

    /// <summary>What is added to a norm's bias, or null.</summary>
    public abstract DeviceBuffer? NormBias(int module);

    public void Dispose()
    {
        Dispose(true);
        GC.SuppressFinalize(this);
    }

    protected abstract void Dispose(bool disposing);
}
