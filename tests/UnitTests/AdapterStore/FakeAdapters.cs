using InferenceServer.AdapterStore;
using InferenceServer.AdapterStore.Cache;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Adapters;

namespace InferenceServer.UnitTests.AdapterStore;

/// <summary>A source of made-up adapters and the device that holds them; counts what is alive.</summary>
internal sealed class FakeAdapters : IAdapterSource
{
    private readonly Dictionary<AdapterId, int> _sizes = [];
    private readonly Lock _lock = new();

    /// <summary>Loads that were started, by adapter.</summary>
    public List<AdapterId> Loads { get; } = [];

    /// <summary>Adapters whose load fails.</summary>
    public HashSet<AdapterId> Broken { get; } = [];

    /// <summary>Bytes of adapters on the device that are not disposed.</summary>
    public long LiveDeviceBytes { get; private set; }

    /// <summary>Device bytes over what was expected, to try a wrong estimate.</summary>
    public long ExtraDeviceBytes { get; set; }

    /// <summary>Where the files of loaded adapters lie.</summary>
    public StoredBytesPool Memory { get; } = new();

    /// <summary>Share of an adapter's bytes that lies in a memory shared with others; 0 for a device where nothing is shared.</summary>
    public double SharedPart { get; set; }

    /// <summary>Bytes of live adapters in that memory.</summary>
    public long LiveSharedBytes { get; private set; }

    /// <summary>Called at the start of each load, on its thread.</summary>
    public Action<AdapterId>? OnLoad { get; set; }

    /// <summary>Defines an adapter of so many floats.</summary>
    public AdapterId Add(string name, int floats)
    {
        AdapterId id = new(name, new string('a', 64));
        _sizes[id] = floats;
        return id;
    }

    public void Remove(AdapterId id) => _sizes.Remove(id);

    public AdapterFootprint Measure(AdapterId id) =>
        _sizes.TryGetValue(id, out int floats) ? new(floats * sizeof(float), 0) : throw new AdapterNotFoundException(id.ToString());

    public AdapterWeights Load(AdapterId id, CancellationToken cancellation)
    {
        lock (_lock)
        {
            Loads.Add(id);
        }

        OnLoad?.Invoke(id);
        return Broken.Contains(id)
            ? throw new AdapterFormatException("adapter_model.safetensors", "x", "a sound file", "a broken one")
            : new AdapterWeights(id.ToString(), [new LowRankDelta { OutputScale = new float[_sizes[id]] }]);
    }

    /// <summary>The same with memory of a file behind it.</summary>
    public AdapterWeights LoadForDevice(AdapterId id, CancellationToken cancellation)
    {
        AdapterWeights weights = Load(id, cancellation);
        return new AdapterWeights(weights.Label, weights.Deltas, Memory.Rent(weights.ByteCount));
    }

    public AdapterCache CreateCache(long hostBytes, long deviceBytes, Action<Action>? run = null, int parallel = 2, double lowWater = 1) => new(
        this,
        CreateDevice,
        WeightFormat.F32,
        new AdapterCacheOptions { HostBudgetBytes = hostBytes, DeviceBudgetBytes = deviceBytes, MaxParallelLoads = parallel, HostLowWater = lowWater },
        TimeProvider.System,
        run ?? (work => ThreadPool.UnsafeQueueUserWorkItem(static action => action(), work, false)));

    public DeviceAdapter CreateDevice(AdapterWeights weights) => new Device(this, weights);

    public static bool IsAlive(AdapterLease lease) => lease.IsHeld && !((Device)lease.Adapter).IsDisposed;

    private sealed class Device : DeviceAdapter
    {
        private readonly FakeAdapters _owner;

        public Device(FakeAdapters owner, AdapterWeights weights)
            : base(weights.Label, weights.ByteCount + owner.ExtraDeviceBytes)
        {
            _owner = owner;
            SharedByteCount = (long)(ByteCount * owner.SharedPart);
            lock (owner._lock)
            {
                owner.LiveDeviceBytes += ByteCount;
                owner.LiveSharedBytes += SharedByteCount;
            }
        }

        public bool IsDisposed { get; private set; }

        public override long SharedByteCount { get; }

        public override bool Changes(int module) => true;

        public override WeightMatrix? Replacement(int module) => null;

        public override bool ScalesInput(int module) => false;

        public override bool ReplacesRows(int module) => false;

        public override DeviceBuffer? NormWeight(int module) => null;

        public override DeviceBuffer? NormBias(int module) => null;

        protected override void Dispose(bool disposing)
        {
            lock (_owner._lock)
            {
                if (!IsDisposed)
                {
                    IsDisposed = true;
                    _owner.LiveDeviceBytes -= ByteCount;
                    _owner.LiveSharedBytes -= SharedByteCount;
                }
            }
        }
    }
}
