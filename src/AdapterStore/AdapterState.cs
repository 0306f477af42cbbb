namespace InferenceServer.AdapterStore;

/// <summary>Where an adapter is in its life.</summary>
public enum AdapterState
{
    /// <summary>Its bytes are arriving or being checked; it cannot be asked for.</summary>
    Uploaded,

    /// <summary>In the catalog, on disk only.</summary>
    Validated,

    /// <summary>Parsed in host memory.</summary>
    Host,

    /// <summary>Waiting for room, being read or being copied to the device.</summary>
    Loading,

    /// <summary>On the device, ready for steps.</summary>
    Resident,

    /// <summary>Being unloaded: running requests finish, new ones start a fresh load.</summary>
    Draining,

    /// <summary>Unloaded or deleted.</summary>
    Gone,
}
