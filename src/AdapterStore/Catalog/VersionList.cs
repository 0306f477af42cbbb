namespace InferenceServer.AdapterStore.Catalog;

/// <summary>Which versions of a name there are, which one requests get, and which are to stay on the device.</summary>
/// <param name="Current">Digest of the current version; null when it was damaged and put aside.</param>
/// <param name="Versions">Digests, oldest first.</param>
/// <param name="Pinned">Digests of those that are pinned; null, as in lists that were written before there were pins, means none.</param>
internal sealed record VersionList(string? Current, IReadOnlyList<string> Versions, IReadOnlyList<string>? Pinned = null)
{
    public bool IsPinned(string digest) => Pinned?.Contains(digest) ?? false;

    /// <summary>This list with other versions: a version that goes takes its pin with it.</summary>
    public VersionList With(string? current, IReadOnlyList<string> versions) => new(current, versions, Pinned?.Where(versions.Contains).ToArray());

    /// <summary>This list with a version pinned or let go.</summary>
    public VersionList WithPin(string digest, bool isPinned)
    {
        List<string> pinned = [.. (Pinned ?? []).Where(other => other != digest)];
        if (isPinned)
        {
            pinned.Add(digest);
        }

        return this with { Pinned = pinned.Count == 0 ? null : pinned };
    }
}
