namespace InferenceServer.Server.Devices;

/// <summary>The device that was asked for cannot be used here.</summary>
internal sealed class DeviceUnavailableException(string message) : Exception(message);
