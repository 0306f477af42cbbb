namespace InferenceServer.AdapterStore.Catalog;

/// <summary>A file as it was stored.</summary>
/// <param name="Bytes">Its length.</param>
/// <param name="Sha256">SHA-256 of its contents, lower-case hex.</param>
public sealed record StoredFile(long Bytes, string Sha256);
