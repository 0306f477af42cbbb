using System.Security.Cryptography;
using InferenceServer.AdapterStore.Import;

namespace InferenceServer.AdapterStore.Catalog;

/// <summary>
/// An upload in progress: both files grow in a staging folder, hashed as the bytes pass, until <see cref="Commit"/> makes them the
/// name's current version. Disposing without a commit leaves no trace. One caller at a time.
/// </summary>
public sealed class AdapterUpload : IDisposable
{
    private readonly AdapterCatalog _catalog;
    private readonly StoreFiles _files;
    private readonly StagedFile _config;
    private readonly StagedFile _weights;
    private bool _isDone;

    internal AdapterUpload(AdapterCatalog catalog, StoreFiles files, string name, string folder, AdapterLimits limits, UploadMode mode)
    {
        _catalog = catalog;
        _files = files;
        Name = name;
        Mode = mode;
        Folder = folder;
        _config = new StagedFile(PeftImporter.ConfigFileName, nameof(limits.MaxConfigBytes), limits.MaxConfigBytes);
        _weights = new StagedFile(PeftImporter.WeightsFileName, nameof(limits.MaxBytes), limits.MaxBytes);
    }

    public string Name { get; }

    /// <summary>After <see cref="Commit"/>: whether the same files were there before.</summary>
    public bool WasAlreadyPresent { get; internal set; }

    /// <summary>Bytes received so far.</summary>
    public long Bytes => _config.Bytes + _weights.Bytes;

    internal string Folder { get; }

    internal UploadMode Mode { get; }

    /// <summary>Appends bytes to one of the files.</summary>
    /// <exception cref="AdapterFormatException">The file exceeds its limit.</exception>
    /// <exception cref="AdapterStorageException">The disk is full or fails.</exception>
    public void Write(AdapterFilePart part, ReadOnlySpan<byte> bytes)
    {
        ObjectDisposedException.ThrowIf(_isDone, this);
        StagedFile file = part == AdapterFilePart.Config ? _config : _weights;
        try
        {
            file.Write(_files, Folder, bytes);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            throw new AdapterStorageException(Name, "receiving", error);
        }
    }

    /// <summary>
    /// Validates the files against the base model, makes them durable and current. Blocks for as long as reading the adapter takes
    /// (DoRA: a pass over the base).
    /// </summary>
    /// <exception cref="AdapterFormatException">The adapter is not accepted.</exception>
    /// <exception cref="AdapterExistsException">It was to be new, and another upload was faster.</exception>
    /// <exception cref="AdapterStorageException">The disk is full or fails; the version before it stays current.</exception>
    public AdapterRecord Commit(CancellationToken cancellation = default)
    {
        ObjectDisposedException.ThrowIf(_isDone, this);
        try
        {
            StoredFile config = _config.Finish(_files);
            StoredFile weights = _weights.Finish(_files);
            return _catalog.Commit(this, config, weights, cancellation);
        }
        catch (Exception error) when (error is IOException and not AdapterStorageException or UnauthorizedAccessException)
        {
            throw new AdapterStorageException(Name, "storing", error);
        }
        finally
        {
            Dispose();
        }
    }

    public void Dispose()
    {
        if (_isDone)
        {
            return;
        }

        _isDone = true;
        _config.Dispose();
        _weights.Dispose();
        _catalog.EndUpload(this);
    }

    private sealed class StagedFile : IDisposable
    {
        private readonly string _name;
        private readonly string _limitName;
        private readonly long _limit;
        private readonly IncrementalHash _hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        private FileStream? _stream;

        public StagedFile(string name, string limitName, long limit)
        {
            _name = name;
            _limitName = limitName;
            _limit = limit;
        }

        public long Bytes { get; private set; }

        public void Write(StoreFiles files, string folder, ReadOnlySpan<byte> bytes)
        {
            if (bytes.Length > _limit - Bytes)
            {
                throw new AdapterFormatException(_name, "", $"at most {_limitName} {_limit} bytes", $"more than {Bytes + bytes.Length - 1}");
            }

            _stream ??= files.CreateFile(Path.Combine(folder, _name));
            files.Write(_stream, bytes);
            _hash.AppendData(bytes);
            Bytes += bytes.Length;
        }

        public StoredFile Finish(StoreFiles files)
        {
            if (_stream is null)
            {
                throw new AdapterFormatException(_name, "", "both files of the adapter", "no byte of this one");
            }

            files.Sync(_stream);
            _stream.Dispose();
            return new StoredFile(Bytes, Convert.ToHexStringLower(_hash.GetHashAndReset()));
        }

        public void Dispose()
        {
            _stream?.Dispose();
            _hash.Dispose();
        }
    }
}
