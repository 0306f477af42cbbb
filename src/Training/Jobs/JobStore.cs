using System.Collections.Concurrent;
using System.Globalization;
using System.Security.Cryptography;
using System.Text.Json;
using InferenceServer.AdapterStore;
using InferenceServer.AdapterStore.Catalog;

namespace InferenceServer.Training.Jobs;

/// <summary>
/// The training jobs on disk, a folder each. A job is there whole or not at all, and outlives the process; what a kill interrupted is
/// queued again when the store is opened.
/// </summary>
public sealed class JobStore
{
    private const string NewPrefix = ".new-";
    private const string TrashPrefix = ".trash-";

    private readonly string _root;
    private readonly TimeProvider _time;
    private readonly StoreFiles _files;
    private readonly ConcurrentDictionary<string, StoredJob> _jobs = new(StringComparer.Ordinal);
    private readonly ConcurrentQueue<JobProblem> _problems = [];

    /// <summary>Opens the jobs of a folder, which is made when it is missing.</summary>
    /// <exception cref="IOException">The folder cannot be used.</exception>
    public JobStore(string root, TimeProvider time)
        : this(root, time, new StoreFiles())
    {
    }

    internal JobStore(string root, TimeProvider time, StoreFiles files)
    {
        _root = Path.GetFullPath(root);
        _time = time;
        _files = files;
        files.CreateDirectory(_root);
        foreach (string folder in Directory.GetDirectories(_root))
        {
            if (Path.GetFileName(folder).StartsWith('.'))
            {
                Discard(folder);
            }
            else
            {
                Open(folder);
            }
        }
    }

    /// <summary>Jobs that are damaged and left alone, and clean-ups that failed.</summary>
    public IReadOnlyList<JobProblem> Problems => [.. _problems];

    /// <summary>All jobs, latest first.</summary>
    public IReadOnlyList<StoredJob> List() =>
        [.. _jobs.Values.OrderByDescending(job => job.Current.CreatedAt).ThenByDescending(job => job.Id, StringComparer.Ordinal)];

    /// <summary>A job by its id.</summary>
    /// <exception cref="JobNotFoundException">There is none.</exception>
    public StoredJob Get(string id) => _jobs.TryGetValue(id, out StoredJob? job) ? job : throw new JobNotFoundException(AdapterFormatException.Shown(id));

    /// <summary>Begins a job.</summary>
    /// <param name="maxDataBytes">Largest data set.</param>
    /// <exception cref="IOException">The disk is full or fails.</exception>
    public NewJob Begin(long maxDataBytes)
    {
        string folder = Path.Combine(_root, NewPrefix + CreateId());
        try
        {
            _files.CreateDirectory(folder);
            return new NewJob(this, _files, folder, maxDataBytes);
        }
        catch
        {
            Discard(folder);
            throw;
        }
    }

    /// <summary>Removes a job that is at rest.</summary>
    /// <returns>Bytes freed.</returns>
    /// <exception cref="IOException">The disk fails; the job is still there.</exception>
    public long Delete(StoredJob job)
    {
        ArgumentNullException.ThrowIfNull(job);

        // Renamed first: a crash in between leaves no half job.
        long bytes = new DirectoryInfo(job.Folder).EnumerateFiles("*", SearchOption.AllDirectories).Sum(file => file.Length);
        string trash = Path.Combine(_root, TrashPrefix + job.Id);
        _files.MoveDirectory(job.Folder, trash);
        _files.SyncDirectory(_root);
        _jobs.TryRemove(job.Id, out _);
        Discard(trash);
        return bytes;
    }

    internal StoredJob Commit(NewJob draft, TrainingSpec spec, string baseModel, string baseFingerprint)
    {
        string id = Path.GetFileName(draft.Folder)[NewPrefix.Length..];
        DateTimeOffset now = _time.GetUtcNow();
        TrainingJob job = new()
        {
            Id = id,
            State = JobState.Queued,
            CreatedAt = now,
            QueuedAt = now,
            BaseModel = baseModel,
            BaseFingerprint = baseFingerprint,
        };
        _files.WriteFile(Path.Combine(draft.Folder, StoredJob.SpecName), SealedJson.Write(spec));
        _files.WriteFile(Path.Combine(draft.Folder, StoredJob.StateName), SealedJson.Write(job));
        new JobEventLog(_files, Path.Combine(draft.Folder, StoredJob.EventsName))
            .Append(new JobStateChanged(JobState.Queued) { Time = now, Step = 0 }, isDurable: true);
        _files.SyncDirectory(draft.Folder);
        string folder = Path.Combine(_root, id);
        _files.MoveDirectory(draft.Folder, folder);
        _files.SyncDirectory(_root);
        StoredJob stored = new(_files, folder, spec, job, _time);
        _jobs[id] = stored;
        return stored;
    }

    internal void Discard(string folder)
    {
        try
        {
            _files.DeleteTree(folder);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            // The next start tries again.
            _problems.Enqueue(new JobProblem(Path.GetFileName(folder), $"was not removed: {error.Message}"));
        }
    }

    private void Open(string folder)
    {
        string name = Path.GetFileName(folder);
        try
        {
            TrainingSpec spec = SealedJson.Read<TrainingSpec>(Path.Combine(folder, StoredJob.SpecName));
            TrainingJob job = SealedJson.Read<TrainingJob>(Path.Combine(folder, StoredJob.StateName));
            if (job.Id != name)
            {
                throw new InvalidDataException($"{StoredJob.StateName} is of {job.Id}");
            }

            StoredJob stored = new(_files, folder, spec, job, _time);
            _jobs[name] = stored;
            stored.Recover();
        }
        catch (Exception error) when (error is InvalidDataException or JsonException or IOException or UnauthorizedAccessException)
        {
            // A full disk, perhaps: then the job is here and only the log lacks a line.
            string what = _jobs.ContainsKey(name) ? "was not brought up to date" : "cannot be read and is left alone";
            _problems.Enqueue(new JobProblem(name, $"{what}: {error.Message}"));
        }
    }

    // Sorted by time, and never one that was there before.
    private string CreateId() => string.Create(
        CultureInfo.InvariantCulture, $"{_time.GetUtcNow():yyyyMMdd-HHmmss}-{RandomNumberGenerator.GetHexString(6, lowercase: true)}");
}
