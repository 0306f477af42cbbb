using InferenceServer.AdapterStore;
using InferenceServer.AdapterStore.Catalog;

namespace InferenceServer.Training.Jobs;

/// <summary>A job while its data set arrives. It is none yet: disposed without <see cref="Commit"/>, or after a crash, nothing of it is left.</summary>
public sealed class NewJob : IDisposable
{
    private readonly JobStore _store;
    private readonly StoreFiles _files;
    private readonly long _maxBytes;
    private FileStream? _data;
    private long _bytes;
    private bool _isDone;

    internal NewJob(JobStore store, StoreFiles files, string folder, long maxBytes)
    {
        _store = store;
        _files = files;
        _maxBytes = maxBytes;
        Folder = folder;
        _data = files.CreateFile(DataPath);
    }

    /// <summary>Where the data set is.</summary>
    public string DataPath => Path.Combine(Folder, StoredJob.DataName);

    internal string Folder { get; }

    /// <summary>Appends bytes of the data set.</summary>
    /// <exception cref="CapacityExceededException">It exceeds the limit.</exception>
    /// <exception cref="IOException">The disk is full or fails.</exception>
    public void Write(ReadOnlySpan<byte> bytes)
    {
        ObjectDisposedException.ThrowIf(_data is null, this);
        if (bytes.Length > _maxBytes - _bytes)
        {
            throw new CapacityExceededException(
                $"the data set has more than {_bytes + bytes.Length - 1} bytes, the limit is {_maxBytes}", _bytes + bytes.Length, _maxBytes);
        }

        _files.Write(_data, bytes);
        _bytes += bytes.Length;
    }

    /// <summary>Ends the data set and makes it durable; it can be read from then on.</summary>
    /// <exception cref="IOException">The disk is full or fails.</exception>
    public void EndData()
    {
        if (_data is not null)
        {
            _files.Sync(_data);
            _data.Dispose();
            _data = null;
        }
    }

    /// <summary>Makes it a job, queued and durable.</summary>
    /// <param name="spec">What is to be done, checked.</param>
    /// <param name="baseModel">Name of the base that it is for.</param>
    /// <param name="baseFingerprint">See <see cref="JobPlan.Fingerprint"/>.</param>
    /// <exception cref="IOException">The disk is full or fails.</exception>
    public StoredJob Commit(TrainingSpec spec, string baseModel, string baseFingerprint)
    {
        EndData();
        StoredJob job = _store.Commit(this, spec, baseModel, baseFingerprint);
        _isDone = true;
        return job;
    }

    public void Dispose()
    {
        _data?.Dispose();
        _data = null;
        if (!_isDone)
        {
            _isDone = true;
            _store.Discard(Folder);
        }
    }
}
