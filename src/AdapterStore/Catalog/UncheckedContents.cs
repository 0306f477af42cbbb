using System.Collections.Concurrent;

namespace InferenceServer.AdapterStore.Catalog;

/// <summary>The stored versions whose contents nobody has hashed since the start.</summary>
internal sealed class UncheckedContents(CatalogDisk disk)
{
    private readonly ConcurrentDictionary<AdapterId, AdapterRecord> _records = new();

    public ICollection<AdapterId> Ids => _records.Keys;

    public void Add(AdapterRecord record) => _records[record.Id] = record;

    /// <summary>Hashes a version unless that was done, or it is gone.</summary>
    /// <returns>Bytes that were hashed.</returns>
    /// <exception cref="InvalidDataException">It is damaged; it stays unchecked.</exception>
    public long Check(AdapterId id, CancellationToken cancellation)
    {
        if (!_records.TryGetValue(id, out AdapterRecord? record))
        {
            return 0;
        }

        string folder = disk.VersionFolder(id);
        try
        {
            StoredVersion.CheckContents(folder, record, cancellation);
        }
        catch (Exception error) when (error is IOException or InvalidDataException && !Directory.Exists(folder))
        {
            // Deleted or pruned meanwhile.
        }

        _records.TryRemove(id, out _);
        return record.DiskBytes;
    }

    public void Forget(AdapterId id) => _records.TryRemove(id, out _);
}
