namespace InferenceServer.AdapterStore.Cache;

/// <summary>What an unload freed.</summary>
/// <param name="HostBytes">Bytes of host memory.</param>
/// <param name="DeviceBytes">Bytes of device memory.</param>
public readonly record struct UnloadResult(long HostBytes, long DeviceBytes);
