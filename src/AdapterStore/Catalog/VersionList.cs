namespace InferenceServer.AdapterStore.Catalog;

/// <summary>Which versions of a name there are, and which one requests get.</summary>
/// <param name="Current">Digest of the current version; null when it was damaged and put aside.</param>
/// <param name="Versions">Digests, oldest first.</param>
internal sealed record VersionList(string? Current, IReadOnlyList<string> Versions);
