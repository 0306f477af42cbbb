namespace InferenceServer.Cuda.Launching;

/// <summary>
/// An operation that waits for the next one, which may do both in one kernel. Nobody can tell: whatever else is launched, copied or read comes
/// after it.
/// </summary>
internal abstract class PostponedLaunch
{
    /// <summary>Launches the operation by itself.</summary>
    public abstract void Launch();
}
