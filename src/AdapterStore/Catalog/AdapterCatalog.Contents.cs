using InferenceServer.AdapterStore.Cache;
using InferenceServer.AdapterStore.Import;
using InferenceServer.Tensors.Adapters;
using InferenceServer.Tensors.Safetensors;

namespace InferenceServer.AdapterStore.Catalog;

/// <content>Reading what is stored: for the cache, for downloads, and to see whether it still is what was stored.</content>
public sealed partial class AdapterCatalog
{
    // Larger files are mapped: they are few, and what is read twice of them should not be in memory twice.
    private const long MostBytesReadWhole = 256L << 20;

    /// <summary>Hashes what has not been hashed since the start; what is damaged is put aside, and reported by <see cref="ProblemFound"/>.</summary>
    /// <param name="cancellation">Stops it between two pieces of a file.</param>
    /// <returns>Versions and bytes that are sound.</returns>
    public (int Versions, long Bytes) VerifyContents(CancellationToken cancellation)
    {
        int versions = 0;
        long bytes = 0;
        foreach (AdapterId id in _unchecked.Ids)
        {
            try
            {
                long checkedBytes = CheckContents(id, cancellation);
                versions += checkedBytes > 0 ? 1 : 0;
                bytes += checkedBytes;
            }
            catch (InvalidDataException)
            {
                // Put aside and reported; the others are looked at too.
            }
            catch (Exception error) when (error is IOException or UnauthorizedAccessException)
            {
                // No proof of damage: it stays where it is, and unchecked.
                Report(new CatalogProblem(id.ToString(), $"could not be read to be checked: {error.Message}"));
            }
        }

        return (versions, bytes);
    }

    /// <inheritdoc/>
    public AdapterFootprint Measure(AdapterId id)
    {
        AdapterRecord record = Find(id);
        return new AdapterFootprint(record.Manifest.HostBytes, record.Manifest.MatrixBytes);
    }

    /// <inheritdoc/>
    public AdapterWeights Load(AdapterId id, CancellationToken cancellation)
    {
        return Load(id, Import, cancellation);

        AdapterWeights Import(string folder, AdapterRecord record, IReadOnlyDictionary<string, float[]>? scales)
        {
            StoredVersion.CheckHeader(folder, record);
            return _importer.Import(folder, id.ToString(), scales, cancellation).Weights;
        }
    }

    /// <inheritdoc/>
    public AdapterWeights LoadForDevice(AdapterId id, CancellationToken cancellation)
    {
        return Find(id).Weights.Bytes > MostBytesReadWhole ? Load(id, cancellation) : Load(id, Import, cancellation);

        AdapterWeights Import(string folder, AdapterRecord record, IReadOnlyDictionary<string, float[]>? scales)
        {
            StoredBytes weights = StoredVersion.ReadWeights(folder, record, _memory, cancellation);
            return _importer.ImportWhole(folder, weights, id.ToString(), scales, cancellation);
        }
    }

    /// <summary>
    /// Opens a stored file of an adapter; it can be read to its end even when the adapter is deleted meanwhile. What it has to hold is in
    /// the adapter's record.
    /// </summary>
    /// <exception cref="AdapterNotFoundException">There is no such version.</exception>
    /// <exception cref="IOException">The disk fails.</exception>
    public FileStream OpenFile(AdapterId id, AdapterFilePart part)
    {
        string name = part == AdapterFilePart.Config ? PeftImporter.ConfigFileName : PeftImporter.WeightsFileName;
        try
        {
            string path = Path.Combine(_disk.VersionFolder(Find(id).Id), name);
            return new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read | FileShare.Delete, bufferSize: 0);
        }
        catch (Exception error) when (error is FileNotFoundException or DirectoryNotFoundException)
        {
            // Deleted or pruned since it was found.
            throw new AdapterNotFoundException(id.ToString());
        }
    }

    // The same files may lie there damaged: then those of the upload take their place.
    private void MakeWayForSound(AdapterId id, CancellationToken cancellation)
    {
        try
        {
            CheckContents(id, cancellation);
        }
        catch (Exception error) when (error is InvalidDataException or IOException or UnauthorizedAccessException)
        {
            // Put aside and reported, or not readable now.
        }
    }

    private long CheckContents(AdapterId id, CancellationToken cancellation)
    {
        try
        {
            return _unchecked.Check(id, cancellation);
        }
        catch (InvalidDataException error)
        {
            PutAside(id, error.Message);
            throw;
        }
    }

    // As at a start: no older version takes the place of a damaged current one by itself.
    private void PutAside(AdapterId id, string reason)
    {
        lock (_changeLock)
        {
            if (!_names.TryGetValue(id.Name, out NameState? state) || !state.Records.ContainsKey(id.Digest))
            {
                return;
            }

            try
            {
                _disk.PutAside(_disk.VersionFolder(id), id.ToString(), reason, Report);
                Publish(
                    id.Name,
                    state,
                    state.List.With(
                        state.List.Current == id.Digest ? null : state.List.Current, [.. state.List.Versions.Where(digest => digest != id.Digest)]));
                _unchecked.Forget(id);
            }
            catch (Exception error) when (error is IOException or UnauthorizedAccessException)
            {
                // It stays unchecked, so that no load believes it; the next start puts it aside.
                Report(new CatalogProblem(id.ToString(), $"{reason}; it could not be put aside: {error.Message}"));
            }
        }
    }

    private static AdapterFormatException Damaged(AdapterId id, Exception error) =>
        new(PeftImporter.WeightsFileName, id.ToString(), "the files as they were stored", error.Message, error);

    private AdapterWeights Load(
        AdapterId id, Func<string, AdapterRecord, IReadOnlyDictionary<string, float[]>?, AdapterWeights> import, CancellationToken cancellation)
    {
        AdapterRecord record = Find(id);
        if (record.BaseFingerprint != _fingerprint)
        {
            throw new AdapterFormatException(
                StoredVersion.RecordFileName,
                id.ToString(),
                $"an adapter validated against this base '{_model.Name}'",
                $"another base '{record.BaseModel}'; upload it again");
        }

        string folder = _disk.VersionFolder(id);
        if (!Directory.Exists(folder))
        {
            // Deleted or pruned since it was found.
            throw new AdapterNotFoundException(id.ToString());
        }

        try
        {
            CheckContents(id, cancellation);
        }
        catch (InvalidDataException error)
        {
            throw Damaged(id, error);
        }

        try
        {
            StoredVersion.CheckLengths(folder, record);
            Dictionary<string, float[]>? scales = record.Derived is null ? null : DerivedFile.Read(Path.Combine(folder, DerivedFile.FileName));
            return import(folder, record, scales);
        }
        catch (Exception error) when (error is not (OperationCanceledException or AdapterNotFoundException) && !Directory.Exists(folder))
        {
            // Deleted or pruned while it was read.
            throw new AdapterNotFoundException(id.ToString());
        }
        catch (Exception error) when (error is InvalidDataException or SafetensorsFormatException or FileNotFoundException)
        {
            throw Damaged(id, error);
        }
    }
}
