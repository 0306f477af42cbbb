namespace InferenceServer.Engine;

/// <summary>A device memory that KV blocks and adapters share, at one moment.</summary>
/// <param name="TotalBytes">All of it.</param>
/// <param name="KvBytes">What KV blocks have, used or not.</param>
/// <param name="AdapterBytes">What adapters have, holes included.</param>
/// <param name="WantedBytes">What adapters on their way need.</param>
/// <param name="GivenBytes">What KV blocks have given to adapters so far.</param>
public sealed record SharedMemorySnapshot(long TotalBytes, long KvBytes, long AdapterBytes, long WantedBytes, long GivenBytes)
{
    /// <summary>What nobody has.</summary>
    public long FreeBytes => TotalBytes - KvBytes - AdapterBytes;
}
