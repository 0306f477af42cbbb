using System.Globalization;
using System.Security.Cryptography;

namespace InferenceServer.AdapterStore.Catalog;

/// <summary>The catalog's folders: where things are, the order in which they change, and recovery at start.</summary>
internal sealed class CatalogDisk : IDisposable
{
    private const string ListFileName = "catalog.json";

    private readonly AdapterCatalogOptions _options;
    private readonly string _adapters;
    private readonly string _staging;
    private readonly string _quarantine;
    private readonly FileStream _guard;

    public CatalogDisk(AdapterCatalogOptions options, StoreFiles files)
    {
        _options = options;
        Files = files;
        string root = Path.GetFullPath(options.Root);
        _adapters = Path.Combine(root, "adapters");
        _staging = Path.Combine(root, "staging");
        _quarantine = Path.Combine(root, "quarantine");
        Directory.CreateDirectory(root);

        // Held until the end: a second server on one folder would delete the first one's staging.
        _guard = new FileStream(Path.Combine(root, "lock"), FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
    }

    public delegate void NameFound(string name, VersionList list, IReadOnlyDictionary<string, AdapterRecord> records);

    public delegate void NameUnread(string name, Exception error);

    public StoreFiles Files { get; }

    public string VersionFolder(AdapterId id) => Path.Combine(_adapters, id.Name, id.Digest);

    public string CreateStaging()
    {
        string folder = Path.Combine(_staging, Guid.NewGuid().ToString("N", CultureInfo.InvariantCulture));
        Files.CreateDirectory(folder);
        return folder;
    }

    public StoredFile? WriteDerived(string folder, IReadOnlyDictionary<string, float[]> outputScales)
    {
        if (outputScales.Count == 0)
        {
            return null;
        }

        byte[] bytes = DerivedFile.Write(outputScales);
        Files.WriteFile(Path.Combine(folder, DerivedFile.FileName), bytes);
        return new StoredFile(bytes.Length, Convert.ToHexStringLower(SHA256.HashData(bytes)));
    }

    public void WriteRecord(string folder, AdapterRecord record)
    {
        Files.WriteFile(Path.Combine(folder, StoredVersion.RecordFileName), SealedJson.Write(record));
        Files.SyncDirectory(folder);
    }

    /// <summary>Renames a complete staging folder to where its version belongs; nothing refers to it yet.</summary>
    public void MoveIntoPlace(string folder, AdapterId id)
    {
        string parent = Path.Combine(_adapters, id.Name);
        if (!Directory.Exists(parent))
        {
            Files.CreateDirectory(parent);
            Files.SyncDirectory(_adapters);
        }

        Files.MoveDirectory(folder, VersionFolder(id));
        Files.SyncDirectory(parent);
    }

    /// <summary>Replaces the list of a name's versions: before the rename inside the old state holds, after it the new.</summary>
    public void WriteList(string name, VersionList list)
    {
        string parent = Path.Combine(_adapters, name);
        string path = Path.Combine(parent, ListFileName);
        string next = path + ".next";
        if (File.Exists(next))
        {
            Files.DeleteTree(next);
        }

        Files.WriteFile(next, SealedJson.Write(list));
        Files.ReplaceFile(next, path);
        Files.SyncDirectory(parent);
    }

    /// <summary>Takes a name away in one rename; returns where its folder is now.</summary>
    public string MoveNameToTrash(string name)
    {
        string trash = TrashFolder();
        Files.MoveDirectory(Path.Combine(_adapters, name), trash);
        Files.SyncDirectory(_adapters);
        return trash;
    }

    /// <summary>Takes a version's folder away; null when there is none.</summary>
    public string? MoveVersionToTrash(AdapterId id)
    {
        string folder = VersionFolder(id);
        if (!Directory.Exists(folder))
        {
            return null;
        }

        string trash = TrashFolder();
        Files.MoveDirectory(folder, trash);
        return trash;
    }

    public void Delete(string folder)
    {
        if (Directory.Exists(folder))
        {
            Files.DeleteTree(folder);
        }
    }

    public bool HasName(string name) => Directory.Exists(Path.Combine(_adapters, name));

    /// <summary>Reads a name's state, or null when it has none or it is damaged.</summary>
    public (VersionList List, IReadOnlyDictionary<string, AdapterRecord> Records)? TryReadName(string name)
    {
        string path = Path.Combine(_adapters, name, ListFileName);
        try
        {
            VersionList list = SealedJson.Read<VersionList>(path);
            Dictionary<string, AdapterRecord> records = new(StringComparer.Ordinal);
            foreach (string digest in list.Versions)
            {
                AdapterId id = new(name, digest);
                records.Add(digest, StoredVersion.Read(VersionFolder(id), id));
            }

            return (list, records);
        }
        catch (Exception error) when (error is IOException or InvalidDataException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    /// <summary>
    /// Cleans up after a crash, verifies everything and hands out what is sound. A name of which something can be neither read nor called
    /// damaged (no permission, no answer from a network disk) stays as it is.
    /// </summary>
    public void Recover(Action<CatalogProblem> report, NameFound found, NameUnread unread)
    {
        Files.CreateDirectory(_adapters);
        Files.CreateDirectory(_quarantine);
        if (Directory.Exists(_staging))
        {
            Files.DeleteTree(_staging);
        }

        Files.CreateDirectory(_staging);
        foreach (string folder in Directory.GetDirectories(_adapters).Order(StringComparer.Ordinal))
        {
            string name = Path.GetFileName(folder);
            if (!AdapterName.IsValid(name))
            {
                report(new CatalogProblem(folder, "not the folder of an adapter; left alone"));
                continue;
            }

            RecoverName(name, folder, report, found, unread);
        }
    }

    /// <summary>Moves what is damaged out of the way; nobody deletes it.</summary>
    public void PutAside(string folder, string subject, string reason, Action<CatalogProblem> report)
    {
        if (!Directory.Exists(folder))
        {
            report(new CatalogProblem(subject, "its folder is missing"));
            return;
        }

        string target = Path.Combine(_quarantine, $"{Path.GetFileName(folder)}-{Guid.NewGuid():N}");
        Files.MoveDirectory(folder, target);
        report(new CatalogProblem(subject, $"{reason}; moved to {target}"));
    }

    public void Dispose() => _guard.Dispose();

    private void RecoverName(string name, string folder, Action<CatalogProblem> report, NameFound found, NameUnread unread)
    {
        VersionList list;
        Dictionary<string, AdapterRecord> records = new(StringComparer.Ordinal);
        Dictionary<string, string> damage = new(StringComparer.Ordinal);
        try
        {
            list = ReadList(folder);
            foreach (string digest in list.Versions)
            {
                AdapterId id = new(name, digest);
                try
                {
                    records.Add(digest, ReadVersion(id));
                }
                catch (Exception error) when (IsDamage(error))
                {
                    damage.Add(digest, error.Message);
                }
            }
        }
        catch (Exception error) when (IsDamage(error))
        {
            if (Directory.GetFileSystemEntries(folder).Length == 0)
            {
                // A first upload that was cut off right after the folder was made.
                Files.DeleteTree(folder);
                return;
            }

            // Which version was current cannot be told any more, so none is served.
            PutAside(folder, name, error.Message, report);
            return;
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            // Nothing was changed so far: all of it is there when it can be read again.
            unread(name, error);
            return;
        }

        foreach ((string digest, string reason) in damage)
        {
            AdapterId id = new(name, digest);
            PutAside(VersionFolder(id), id.ToString(), reason, report);
        }

        if (records.Count < list.Versions.Count)
        {
            // No older version takes the place of a damaged current one by itself: that is for an operator to decide.
            list = list.With(
                list.Current is { } current && records.ContainsKey(current) ? current : null, [.. list.Versions.Where(records.ContainsKey)]);
            WriteList(name, list);
        }

        // Left by a crash between the rename of a version and its record, or while an old version was removed.
        foreach (string other in Directory.GetDirectories(folder).Where(other => !records.ContainsKey(Path.GetFileName(other))))
        {
            Files.DeleteTree(other);
        }

        found(name, list, records);
    }

    private static VersionList ReadList(string folder)
    {
        VersionList list = SealedJson.Read<VersionList>(Path.Combine(folder, ListFileName));
        return list.Versions.All(digest => AdapterDigest.IsValid(digest)) && (list.Current is not { } current || list.Versions.Contains(current))
            ? list
            : throw new InvalidDataException($"{ListFileName} names no sound versions");
    }

    private AdapterRecord ReadVersion(AdapterId id)
    {
        string folder = VersionFolder(id);
        AdapterRecord record = StoredVersion.Read(folder, id);
        if (_options.VerifyContents == ContentCheck.BeforeServing)
        {
            StoredVersion.CheckContents(folder, record, CancellationToken.None);
        }

        return record;
    }

    private static bool IsDamage(Exception error) =>
        error is InvalidDataException or FileNotFoundException or DirectoryNotFoundException or EndOfStreamException;

    private string TrashFolder() => Path.Combine(_staging, Guid.NewGuid().ToString("N", CultureInfo.InvariantCulture));
}
