using InferenceServer.AdapterStore;
using InferenceServer.AdapterStore.Catalog;
using InferenceServer.Models;
using InferenceServer.Server.Hosting;
using InferenceServer.Training.Jobs;
using Microsoft.Extensions.Options;

namespace InferenceServer.Server.Training;

/// <summary>The front door of training: takes jobs, finds them, and says which is next. Any number of callers at once.</summary>
public sealed class TrainingJobs
{
    private readonly JobStore _store;
    private readonly LanguageModel _model;
    private readonly AdapterCatalog _catalog;
    private readonly TrainingServerOptions _options;
    private readonly ILogger<TrainingJobs> _log;
    private readonly string _fingerprint;

    // Guards which job runs, and the ways between queue, running and rest.
    private readonly Lock _lock = new();
    private RunningJob? _running;
    private bool _isStopping;

    public TrainingJobs(
        JobStore store, LanguageModel model, AdapterCatalog catalog, IOptions<TrainingServerOptions> options, ILogger<TrainingJobs> log)
    {
        ArgumentNullException.ThrowIfNull(store);
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(catalog);
        ArgumentNullException.ThrowIfNull(options);
        _store = store;
        _model = model;
        _catalog = catalog;
        _options = options.Value;
        _log = log;
        _fingerprint = JobPlan.Fingerprint(model.Transformer.Shape);
        foreach (JobProblem problem in store.Problems)
        {
            TrainingLog.Problem(log, problem.Job, problem.Reason);
        }
    }

    /// <summary>Released once for each job that is queued.</summary>
    internal SemaphoreSlim Wake { get; } = new(0);

    /// <summary>Begins a job whose data set is to come.</summary>
    /// <exception cref="FailedPreconditionException">Training is turned off.</exception>
    /// <exception cref="CapacityExceededException">The queue is full.</exception>
    public NewJob Begin()
    {
        ThrowIfOff();
        lock (_lock)
        {
            ThrowIfFull();
        }

        return _store.Begin(_options.MaxDataBytes);
    }

    /// <summary>Checks a job's data and config against the model and queues it.</summary>
    public StoredJob Add(NewJob draft, TrainingSpec spec)
    {
        ArgumentNullException.ThrowIfNull(draft);
        draft.EndData();
        RouterSources.Check(JobPlan.Create(spec, draft.DataPath, _model).Recipe, _catalog);
        StoredJob job;
        lock (_lock)
        {
            ThrowIfFull();
            job = draft.Commit(spec, _model.Name, _fingerprint);
        }

        TrainingLog.Queued(_log, job.Id, spec.Adapter, new FileInfo(job.DataPath).Length);
        Wake.Release();
        return job;
    }

    /// <summary>All jobs, latest first.</summary>
    public IReadOnlyList<StoredJob> List() => _store.List();

    /// <exception cref="JobNotFoundException">There is none of this id.</exception>
    public StoredJob Get(string id) => _store.Get(id);

    /// <summary>Jobs that are done before it: those that wait before it and the one at hand; 0 when it does not wait.</summary>
    public int QueuePosition(StoredJob job)
    {
        ArgumentNullException.ThrowIfNull(job);
        return job.Current.State == JobState.Queued
            ? _store.List().Count(other => other.Current.State == JobState.Running || (other.Current.State == JobState.Queued && IsBefore(other, job)))
            : 0;
    }

    /// <summary>Takes a job out of the queue, or stops it after the step at hand and waits for that.</summary>
    /// <exception cref="FailedPreconditionException">It is at rest.</exception>
    public async Task CancelAsync(StoredJob job, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(job);
        lock (_lock)
        {
            if (job.Current.IsAtRest)
            {
                throw new FailedPreconditionException($"training job {job.Id} is {Word(job.Current.State)} already");
            }

            if (_running?.Job == job)
            {
                _running.Cancel();
            }
            else
            {
                job.Change(now => now with { State = JobState.Cancelled, EndedAt = job.Now }, job.StateEvent(JobState.Cancelled));
                job.Announce();
            }
        }

        while (true)
        {
            Task changed = job.Changed;
            if (job.Current.IsAtRest)
            {
                return;
            }

            await changed.WaitAsync(cancellationToken);
        }
    }

    /// <summary>Puts a job that was cancelled or has failed back into the queue, behind the others.</summary>
    /// <exception cref="FailedPreconditionException">It is not at rest, is done, or is of another base; or training is turned off.</exception>
    public void Resume(StoredJob job)
    {
        ArgumentNullException.ThrowIfNull(job);
        ThrowIfOff();
        ThrowIfOfAnotherBase(job);
        lock (_lock)
        {
            if (job.Current.State is not (JobState.Cancelled or JobState.Failed))
            {
                throw new FailedPreconditionException($"training job {job.Id} is {Word(job.Current.State)}: only a cancelled or failed one is resumed");
            }

            ThrowIfFull();
            job.Change(
                now => now with { State = JobState.Queued, QueuedAt = job.Now, EndedAt = null, Error = null }, job.StateEvent(JobState.Queued));
        }

        job.Announce();
        Wake.Release();
    }

    /// <summary>Removes a job that is at rest, with its checkpoints.</summary>
    /// <returns>Bytes freed.</returns>
    /// <exception cref="FailedPreconditionException">It waits or runs.</exception>
    public long Delete(StoredJob job)
    {
        ArgumentNullException.ThrowIfNull(job);
        lock (_lock)
        {
            return job.Current.IsAtRest
                ? _store.Delete(job)
                : throw new FailedPreconditionException($"training job {job.Id} is {Word(job.Current.State)}; cancel it first");
        }
    }

    /// <exception cref="FailedPreconditionException">The job was started for another base than this server's.</exception>
    internal void ThrowIfOfAnotherBase(StoredJob job)
    {
        if (job.Current.BaseFingerprint != _fingerprint)
        {
            throw new FailedPreconditionException(
                $"training job {job.Id} is of the base '{job.Current.BaseModel}' ({job.Current.BaseFingerprint[..12]}), this server has '{_model.Name}' ({_fingerprint[..12]})");
        }
    }

    /// <summary>Takes the next job out of the queue; null when none waits or the server stops.</summary>
    internal RunningJob? TakeNext()
    {
        lock (_lock)
        {
            StoredJob? next = _isStopping
                ? null
                : _store.List().Where(job => job.Current.State == JobState.Queued)
                    .OrderBy(job => job.Current.QueuedAt).ThenBy(job => job.Id, StringComparer.Ordinal).FirstOrDefault();
            _running = next is null ? null : new RunningJob(next);
            return _running;
        }
    }

    /// <summary>The job at hand has come to rest, or back into the queue.</summary>
    internal void Release(RunningJob running)
    {
        lock (_lock)
        {
            _running = null;
        }

        running.Dispose();
    }

    /// <summary>No further job is begun, and the one at hand stops after its step.</summary>
    internal void BeginStop()
    {
        lock (_lock)
        {
            _isStopping = true;
            _running?.Interrupt();
        }

        Wake.Release();
    }

    internal static string Word(JobState state) => state == JobState.StoppedEarly ? "stopped early" : state.ToString().ToLowerInvariant();

    private static bool IsBefore(StoredJob one, StoredJob other) =>
        (one.Current.QueuedAt, one.Id).CompareTo((other.Current.QueuedAt, other.Id)) < 0;

    private void ThrowIfOff()
    {
        if (!_options.Enabled)
        {
            throw new FailedPreconditionException("training is turned off on this server (--training false)");
        }
    }

    // Lock held.
    private void ThrowIfFull()
    {
        int jobs = _store.List().Count(job => !job.Current.IsAtRest);
        if (jobs >= _options.MaxJobs)
        {
            throw new CapacityExceededException(
                $"{jobs} training jobs wait or run, and the limit is {_options.MaxJobs}; try again later", jobs + 1, _options.MaxJobs);
        }
    }
}
