using InferenceServer.Tensors;

namespace InferenceServer.AdapterStore.Cache;

/// <summary>What an adapter takes in memory.</summary>
/// <param name="HostBytes">Bytes in host memory, f32.</param>
/// <param name="MatrixBytes">Of these, the bytes of matrices, which a device may keep as BF16.</param>
public readonly record struct AdapterFootprint(long HostBytes, long MatrixBytes)
{
    /// <summary>Bytes expected on a device; the true number is known once it is there.</summary>
    public long DeviceBytes(WeightFormat format) => format == WeightFormat.BF16 ? HostBytes - (MatrixBytes / 2) : HostBytes;
}
