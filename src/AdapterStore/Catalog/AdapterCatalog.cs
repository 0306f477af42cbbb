using System.Collections.Concurrent;
using System.Collections.Immutable;
using System.Diagnostics.CodeAnalysis;
using InferenceServer.AdapterStore.Cache;
using InferenceServer.AdapterStore.Import;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Adapters;

namespace InferenceServer.AdapterStore.Catalog;

/// <summary>
/// The adapters on disk. <c>root/adapters/NAME/DIGEST/</c> holds the files of a version, <c>root/adapters/NAME/catalog.json</c> says which
/// versions there are and which is current. Every change is made durable in an order such that a crash leaves the old state or the new.
/// </summary>
/// <remarks>
/// Upload: files and record are written and synced in <c>root/staging</c>, the folder is renamed into place, then catalog.json is
/// replaced - that is the moment of the change. What is damaged goes to <c>root/quarantine</c> at start and is reported in
/// <see cref="Problems"/>; everything else is served.
/// </remarks>
public sealed partial class AdapterCatalog : IAdapterSource, IDisposable
{
    private readonly AdapterCatalogOptions _options;
    private readonly PeftImporter _importer;
    private readonly ModelShape _model;
    private readonly string _fingerprint;
    private readonly TimeProvider _time;
    private readonly CatalogDisk _disk;
    private readonly UncheckedContents _unchecked;
    private readonly StoredBytesPool _memory = new();

    private readonly ConcurrentDictionary<AdapterUpload, bool> _uploads = [];
    private readonly ConcurrentQueue<CatalogProblem> _problems = [];
    private readonly Dictionary<string, Exception> _unread = new(StringComparer.Ordinal);

    // Orders the changes of the disk, which wait for it. Readers take the present table without a lock.
    private readonly Lock _changeLock = new();
    private volatile ImmutableDictionary<string, NameState> _names = ImmutableDictionary.Create<string, NameState>(StringComparer.Ordinal);

    /// <summary>
    /// Opens the catalog: cleans up after a crash, verifies every record, puts damaged ones aside. A name that cannot be read for another reason
    /// stays as it is, unknown to readers and closed to uploads until the next start.
    /// </summary>
    /// <param name="options">Where, and how many versions.</param>
    /// <param name="model">The base model that adapters must fit.</param>
    /// <param name="time">The clock of the records.</param>
    /// <exception cref="IOException">The folder cannot be used, or another process uses it.</exception>
    public AdapterCatalog(AdapterCatalogOptions options, ModelShape model, TimeProvider? time = null)
        : this(options, model, time, new StoreFiles())
    {
    }

    internal AdapterCatalog(AdapterCatalogOptions options, ModelShape model, TimeProvider? time, StoreFiles files)
    {
        ArgumentNullException.ThrowIfNull(options);
        ArgumentNullException.ThrowIfNull(model);
        _options = options;
        _model = model;
        _time = time ?? TimeProvider.System;
        _importer = new PeftImporter(model, options.Limits);
        _fingerprint = BaseFingerprint.Compute(model);
        _disk = new CatalogDisk(options, files);
        _unchecked = new UncheckedContents(_disk);
        try
        {
            _disk.Recover(Report, Found, Unread);
        }
        catch
        {
            _disk.Dispose();
            throw;
        }
    }

    /// <summary>Says each of <see cref="Problems"/> that comes from now on.</summary>
    public event Action<CatalogProblem>? ProblemFound;

    /// <summary>What was found damaged and put aside, and clean-ups that failed.</summary>
    public IReadOnlyList<CatalogProblem> Problems => [.. _problems];

    /// <summary>Memory that adapters loaded for a device hold.</summary>
    internal long LentBytes => _memory.LentBytes;

    /// <summary>Names of uploads in progress.</summary>
    public IReadOnlyList<string> PendingUploads => [.. _uploads.Keys.Select(upload => upload.Name)];

    /// <summary>The current version of every name, by name.</summary>
    public IReadOnlyList<AdapterRecord> List() =>
        [.. _names.Values.Select(state => state.Current).OfType<AdapterRecord>().OrderBy(record => record.Name, StringComparer.Ordinal)];

    /// <summary>All versions of all names, by name, oldest first.</summary>
    public IReadOnlyList<AdapterRecord> ListAll() =>
        [.. _names.OrderBy(pair => pair.Key, StringComparer.Ordinal).SelectMany(pair => pair.Value.Stored)];

    /// <summary>All stored versions of a name, oldest first; empty when there is none.</summary>
    public IReadOnlyList<AdapterRecord> Versions(string name) =>
        _names.TryGetValue(name, out NameState? state) ? [.. state.Stored] : [];

    /// <summary>The record of <c>name</c> (its current version) or of <c>name@digest</c>.</summary>
    /// <exception cref="AdapterNotFoundException">There is none.</exception>
    public AdapterRecord Get(string nameOrId) => TryGet(nameOrId, out AdapterRecord? record) ? record : throw new AdapterNotFoundException(nameOrId);

    /// <summary>The record of <c>name</c> (its current version) or of <c>name@digest</c>, if there is one.</summary>
    public bool TryGet(string nameOrId, [NotNullWhen(true)] out AdapterRecord? record)
    {
        ArgumentNullException.ThrowIfNull(nameOrId);
        record = AdapterId.TryParse(nameOrId, out AdapterId id)
            ? _names.GetValueOrDefault(id.Name)?.Records.GetValueOrDefault(id.Digest)
            : _names.GetValueOrDefault(nameOrId)?.Current;
        return record is not null;
    }

    /// <summary>Starts an upload under a name.</summary>
    /// <exception cref="AdapterExistsException">It was to be new, and the name is taken.</exception>
    /// <exception cref="AdapterFormatException">The name may not be used.</exception>
    /// <exception cref="AdapterStorageException">The disk is full or fails.</exception>
    public AdapterUpload BeginUpload(string name, UploadMode mode = UploadMode.None)
    {
        AdapterName.Check(name);
        if (_unread.TryGetValue(name, out Exception? reason))
        {
            // A list written now would forget the versions that could not be read.
            throw new AdapterStorageException(
                name, "storing", new IOException($"what is stored under its name could not be read at the server's start: {reason.Message}", reason));
        }

        if (mode.HasFlag(UploadMode.MustBeNew) && Versions(name).Count > 0)
        {
            throw new AdapterExistsException(name);
        }

        string folder;
        try
        {
            folder = _disk.CreateStaging();
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            throw new AdapterStorageException(name, "receiving", error);
        }

        AdapterUpload upload = new(this, _disk.Files, name, folder, _options.Limits, mode);
        _uploads.TryAdd(upload, true);
        return upload;
    }

    /// <summary>Takes an adapter from a local folder, through the same door as an upload.</summary>
    /// <param name="name">Name to give it.</param>
    /// <param name="folder">Folder with adapter_config.json and adapter_model.safetensors.</param>
    /// <param name="mode">What it may meet, and what it becomes.</param>
    /// <param name="cancellation">Stops it; nothing is left behind.</param>
    public AdapterRecord ImportFolder(
        string name, string folder, UploadMode mode = UploadMode.None, CancellationToken cancellation = default)
    {
        using AdapterUpload upload = BeginUpload(name, mode);
        byte[] buffer = new byte[1 << 20];
        foreach ((AdapterFilePart part, string file) in
            (ReadOnlySpan<(AdapterFilePart, string)>)
            [(AdapterFilePart.Config, PeftImporter.ConfigFileName), (AdapterFilePart.Weights, PeftImporter.WeightsFileName)])
        {
            string path = Path.Combine(folder, file);
            if (!File.Exists(path))
            {
                throw new AdapterFormatException(file, "", "both files of the adapter", "no such file");
            }

            using FileStream source = new(path, FileMode.Open, FileAccess.Read, FileShare.Read);
            for (int count = source.Read(buffer); count > 0; count = source.Read(buffer))
            {
                cancellation.ThrowIfCancellationRequested();
                upload.Write(part, buffer.AsSpan(0, count));
            }
        }

        return upload.Commit(cancellation);
    }

    /// <summary>Makes a stored version current (roll-back or roll-forward).</summary>
    /// <exception cref="AdapterNotFoundException">There is no such version.</exception>
    /// <exception cref="AdapterStorageException">The disk fails; the version before it stays current.</exception>
    public AdapterRecord Activate(string name, string digest)
    {
        lock (_changeLock)
        {
            if (!_names.TryGetValue(name, out NameState? state) || !state.Records.TryGetValue(digest, out AdapterRecord? record))
            {
                throw new AdapterNotFoundException($"{name}@{digest}");
            }

            Change(name, "activating", () => Publish(name, state, state.List with { Current = digest }));
            return record;
        }
    }

    /// <summary>The versions that are to be kept on the device, by name.</summary>
    public IReadOnlyList<AdapterId> Pinned() =>
        [.. _names.OrderBy(pair => pair.Key, StringComparer.Ordinal)
            .SelectMany(pair => (pair.Value.List.Pinned ?? []).Select(digest => new AdapterId(pair.Key, digest)))];

    /// <summary>Whether a version is to be kept on the device.</summary>
    public bool IsPinned(AdapterId id) => _names.GetValueOrDefault(id.Name)?.List.IsPinned(id.Digest) ?? false;

    /// <summary>Notes that a version is to be kept on the device, or no more. Writes nothing when that is known.</summary>
    /// <exception cref="AdapterNotFoundException">There is no such version.</exception>
    /// <exception cref="AdapterStorageException">The disk fails; what was noted before holds.</exception>
    public void SetPinned(AdapterId id, bool isPinned)
    {
        lock (_changeLock)
        {
            if (!_names.TryGetValue(id.Name, out NameState? state) || !state.Records.ContainsKey(id.Digest))
            {
                throw new AdapterNotFoundException(id.ToString());
            }

            if (state.List.IsPinned(id.Digest) != isPinned)
            {
                Change(id.Name, isPinned ? "pinning" : "unpinning", () => Publish(id.Name, state, state.List.WithPin(id.Digest, isPinned)));
            }
        }
    }

    /// <summary>Deletes a name with all its versions; adapters in memory are unloaded by the cache's owner.</summary>
    /// <returns>The versions that were deleted.</returns>
    /// <exception cref="AdapterNotFoundException">There is no such name.</exception>
    /// <exception cref="AdapterStorageException">The disk fails; nothing is deleted.</exception>
    public IReadOnlyList<AdapterId> Delete(string name)
    {
        lock (_changeLock)
        {
            if (!_names.TryGetValue(name, out NameState? state))
            {
                throw new AdapterNotFoundException(name);
            }

            Change(name, "deleting", () =>
            {
                string trash = _disk.MoveNameToTrash(name);
                _names = _names.Remove(name);
                Discard(trash);
            });
            return [.. state.List.Versions.Select(digest => new AdapterId(name, digest))];
        }
    }

    /// <summary>Deletes one version; when it was current, the newest that is left becomes so. With its last version a name goes too.</summary>
    /// <exception cref="AdapterNotFoundException">There is no such version.</exception>
    /// <exception cref="AdapterStorageException">The disk fails; nothing is deleted.</exception>
    public void Delete(AdapterId id)
    {
        lock (_changeLock)
        {
            if (!_names.TryGetValue(id.Name, out NameState? state) || !state.Records.ContainsKey(id.Digest))
            {
                throw new AdapterNotFoundException(id.ToString());
            }

            List<string> left = [.. state.List.Versions.Where(digest => digest != id.Digest)];
            if (left.Count == 0)
            {
                Delete(id.Name);
                return;
            }

            Change(id.Name, "deleting", () =>
            {
                // Off the list first: a crash after that leaves a folder that nothing names, which the next start removes.
                Publish(id.Name, state, state.List.With(state.List.Current == id.Digest ? left[^1] : state.List.Current, left));
                if (_disk.MoveVersionToTrash(id) is { } trash)
                {
                    Discard(trash);
                }
            });
        }
    }

    /// <summary>Lets go of the folder; uploads in progress are abandoned and cleaned up at the next start.</summary>
    public void Dispose()
    {
        _disk.Dispose();
        _memory.Dispose();
    }

    internal AdapterRecord Commit(AdapterUpload upload, StoredFile config, StoredFile weights, CancellationToken cancellation)
    {
        string digest = AdapterDigest.Combine(
            config.Bytes, Convert.FromHexString(config.Sha256), weights.Bytes, Convert.FromHexString(weights.Sha256));
        AdapterId id = new(upload.Name, digest);
        ImportedAdapter imported = _importer.Import(upload.Folder, id.ToString(), null, cancellation);
        AdapterRecord record = new()
        {
            Name = id.Name,
            Digest = digest,
            CreatedAt = _time.GetUtcNow(),
            Manifest = imported.Manifest,
            Config = config,
            Weights = weights,
            HeaderSha256 = StoredVersion.HashHeader(Path.Combine(upload.Folder, PeftImporter.WeightsFileName)),
            Derived = _disk.WriteDerived(upload.Folder, imported.OutputScales),
            BaseModel = _model.Name,
            BaseFingerprint = _fingerprint,
        };
        _disk.WriteRecord(upload.Folder, record);
        MakeWayForSound(id, cancellation);
        cancellation.ThrowIfCancellationRequested();
        lock (_changeLock)
        {
            NameState state = _names.GetValueOrDefault(id.Name)
                ?? new NameState(new VersionList(null, []), new Dictionary<string, AdapterRecord>());
            if (upload.Mode.HasFlag(UploadMode.MustBeNew) && state.List.Versions.Count > 0)
            {
                throw new AdapterExistsException(id.Name);
            }

            Change(id.Name, "storing", () => Store(upload, record, state));
            return _names[id.Name].Records[digest];
        }
    }

    internal void EndUpload(AdapterUpload upload)
    {
        _uploads.TryRemove(upload, out _);
        Discard(upload.Folder);
    }

    private void Report(CatalogProblem problem)
    {
        _problems.Enqueue(problem);
        ProblemFound?.Invoke(problem);
    }

    private void Unread(string name, Exception error)
    {
        _unread.Add(name, error);
        Report(new CatalogProblem(name, $"could not be read; left as it is, and not served until the next start: {error.Message}"));
    }

    private void Found(string name, VersionList list, IReadOnlyDictionary<string, AdapterRecord> records)
    {
        _names = _names.Add(name, new NameState(list, records));
        if (_options.VerifyContents == ContentCheck.Beside)
        {
            foreach (AdapterRecord record in records.Values)
            {
                _unchecked.Add(record);
            }
        }
    }

    // Lock held.
    private void Store(AdapterUpload upload, AdapterRecord record, NameState state)
    {
        bool isStored = state.Records.TryGetValue(record.Digest, out AdapterRecord? stored) && stored.BaseFingerprint == _fingerprint;
        if (!isStored)
        {
            // What may lie there was never recorded, or was validated against another base.
            if (_disk.MoveVersionToTrash(record.Id) is { } trash)
            {
                Discard(trash);
            }

            _disk.MoveIntoPlace(upload.Folder, record.Id);
            _unchecked.Forget(record.Id);
        }

        upload.WasAlreadyPresent = isStored;
        string? current = upload.Mode.HasFlag(UploadMode.StageOnly) ? state.List.Current : record.Digest;

        // Newest last; the same contents again are the same version. The oldest go, but never the current one.
        List<string> versions = [.. state.List.Versions.Where(digest => digest != record.Digest), record.Digest];
        List<string> dropped =
        [
            .. versions
                .Where(digest => digest != current && digest != record.Digest)
                .Take(Math.Max(0, versions.Count - _options.KeepVersions)),
        ];
        Dictionary<string, AdapterRecord> records = new(state.Records) { [record.Digest] = isStored ? stored! : record };
        NameState next = new(state.List, records);
        Publish(record.Name, next, state.List.With(current, [.. versions.Except(dropped)]));
        foreach (string digest in dropped)
        {
            try
            {
                if (_disk.MoveVersionToTrash(new AdapterId(record.Name, digest)) is { } trash)
                {
                    Discard(trash);
                }
            }
            catch (Exception error) when (error is IOException or UnauthorizedAccessException)
            {
                // The upload itself is done; what is left over goes at the next start.
                Report(new CatalogProblem($"{record.Name}@{digest}", $"an old version was not removed: {error.Message}"));
            }
        }
    }

    // Lock held. The moment of the change is inside WriteList.
    private void Publish(string name, NameState state, VersionList list)
    {
        _disk.WriteList(name, list);
        Dictionary<string, AdapterRecord> kept = list.Versions.ToDictionary(digest => digest, digest => state.Records[digest], StringComparer.Ordinal);
        _names = _names.SetItem(name, new NameState(list, kept));
    }

    // Lock held. After a failure memory follows what the disk says, which is the old state or, if only its last sync failed, the new.
    private void Change(string name, string action, Action change)
    {
        VersionList? before = _names.GetValueOrDefault(name)?.List;
        try
        {
            change();
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            if (_disk.TryReadName(name) is { } onDisk)
            {
                _names = _names.SetItem(name, new NameState(onDisk.List, onDisk.Records));
            }
            else if (!_disk.HasName(name))
            {
                _names = _names.Remove(name);
            }

            throw new AdapterStorageException(name, action, error, isChanged: !IsSame(before, _names.GetValueOrDefault(name)?.List));
        }
    }

    private static bool IsSame(VersionList? left, VersionList? right) => left is null || right is null
        ? left == right
        : left.Current == right.Current && left.Versions.SequenceEqual(right.Versions) && (left.Pinned ?? []).SequenceEqual(right.Pinned ?? []);

    private void Discard(string folder)
    {
        try
        {
            _disk.Delete(folder);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            Report(new CatalogProblem(folder, $"a folder that is no longer needed was not removed: {error.Message}"));
        }
    }

    private AdapterRecord Find(AdapterId id) =>
        _names.GetValueOrDefault(id.Name)?.Records.GetValueOrDefault(id.Digest) ?? throw new AdapterNotFoundException(id.ToString());

    private sealed record NameState(VersionList List, IReadOnlyDictionary<string, AdapterRecord> Records)
    {
        /// <summary>Oldest first.</summary>
        public IEnumerable<AdapterRecord> Stored => List.Versions.Select(digest => Records[digest]);

        public AdapterRecord? Current => List.Current is { } digest ? Records.GetValueOrDefault(digest) : null;
    }
}
