using InferenceServer.Tensors.Adapters;

namespace InferenceServer.AdapterStore.Cache;

/// <summary>
/// The right to use a resident adapter: while any lease on it is held it is not evicted. A small value over a pooled slot, so taking one
/// allocates nothing; copies are the same lease, and disposing twice is harmless.
/// </summary>
public readonly struct AdapterLease : IDisposable, IEquatable<AdapterLease>
{
    private readonly LeaseSlot? _slot;
    private readonly long _version;

    internal AdapterLease(LeaseSlot slot)
    {
        _slot = slot;
        _version = slot.Version;
    }

    /// <summary>Whether this is a lease that has not been disposed.</summary>
    public bool IsHeld => _slot is not null && _slot.Version == _version;

    /// <summary>The adapter on the device.</summary>
    /// <exception cref="ObjectDisposedException">The lease was disposed.</exception>
    public DeviceAdapter Adapter => Entry().Device!;

    /// <summary>Which adapter it is.</summary>
    /// <exception cref="ObjectDisposedException">The lease was disposed.</exception>
    public AdapterId Id => Entry().Id;

    public static bool operator ==(AdapterLease left, AdapterLease right) => left.Equals(right);

    public static bool operator !=(AdapterLease left, AdapterLease right) => !left.Equals(right);

    public void Dispose() => _slot?.Release(_version);

    public bool Equals(AdapterLease other) => ReferenceEquals(_slot, other._slot) && _version == other._version;

    public override bool Equals(object? obj) => obj is AdapterLease other && Equals(other);

    public override int GetHashCode() => HashCode.Combine(_slot, _version);

    private CacheEntry Entry()
    {
        ObjectDisposedException.ThrowIf(!IsHeld, typeof(AdapterLease));
        return _slot!.Entry!;
    }
}
