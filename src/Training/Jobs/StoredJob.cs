using System.Runtime.CompilerServices;
using InferenceServer.AdapterStore.Catalog;
using InferenceServer.Training.Runs;

namespace InferenceServer.Training.Jobs;

/// <summary>
/// A job with its folder: <c>spec.json</c>, <c>dataset.jsonl</c>, <c>job.json</c>, <c>events.jsonl</c>, the run's folder <c>run/</c> and,
/// of a full fine-tuning, <c>model/</c>. Any thread may read it and change it.
/// </summary>
public sealed class StoredJob
{
    internal const string SpecName = "spec.json";
    internal const string DataName = "dataset.jsonl";
    internal const string StateName = "job.json";
    internal const string EventsName = "events.jsonl";

    private readonly StoreFiles _files;
    private readonly TimeProvider _time;

    // Guards the log, job.json and _current.
    private readonly Lock _lock = new();
    private readonly JobEventLog _log;
    private volatile TrainingJob _current;
    private volatile TaskCompletionSource _changed = NewSignal();

    internal StoredJob(StoreFiles files, string folder, TrainingSpec spec, TrainingJob job, TimeProvider time)
    {
        _files = files;
        _time = time;
        Folder = folder;
        Spec = spec;
        _log = new JobEventLog(files, Path.Combine(folder, EventsName));
        _current = job with { LastEvent = _log.Last?.Number ?? 0 };
    }

    public string Id => _current.Id;

    public TrainingSpec Spec { get; }

    /// <summary>The job now.</summary>
    public TrainingJob Current => _current;

    /// <summary>Where everything of it is.</summary>
    public string Folder { get; }

    public string DataPath => Path.Combine(Folder, DataName);

    /// <summary>Folder of its <see cref="TrainingRun"/>.</summary>
    public string RunFolder => Path.Combine(Folder, "run");

    /// <summary>Where a fully fine-tuned model lies once the run is done.</summary>
    public string ModelFolder => Path.Combine(Folder, "model");

    /// <summary>Folder of the finished adapter; null before the run is done, and when every weight was trained.</summary>
    public string? AdapterFolder => _current.Finished?.Adapter is { } name ? Path.Combine(RunFolder, name) : null;

    /// <summary>Time for its events.</summary>
    public DateTimeOffset Now => _time.GetUtcNow();

    /// <summary>Writes an event of the run to the log. Watchers learn of it by <see cref="Announce"/>.</summary>
    /// <exception cref="IOException">The disk refuses; nothing has changed.</exception>
    public void Append(TrainingEvent happened)
    {
        lock (_lock)
        {
            Log(happened);
        }
    }

    /// <summary>Changes the job: first its <c>job.json</c>, durably, then the events that tell of it.</summary>
    /// <param name="change">From the present state.</param>
    /// <param name="events">What happened.</param>
    /// <exception cref="IOException">The disk refuses. The job has changed all the same, but a restart may find it as it was before.</exception>
    public void Change(Func<TrainingJob, TrainingJob> change, params ReadOnlySpan<TrainingEvent> events)
    {
        ArgumentNullException.ThrowIfNull(change);
        lock (_lock)
        {
            TrainingJob next = change(_current);
            try
            {
                Save(next);
                foreach (TrainingEvent happened in events)
                {
                    Log(happened);
                }
            }
            finally
            {
                // Last: a watcher that sees the job at rest has its last events before it.
                _current = next with { LastEvent = _log.Last?.Number ?? 0 };
            }
        }
    }

    /// <summary>
    /// Tells watchers to look. Their continuations go to the thread pool, which may start a thread: a thread of low priority has another
    /// one call this, or the pool's new thread would inherit its priority.
    /// </summary>
    public void Announce() => Interlocked.Exchange(ref _changed!, NewSignal()).TrySetResult();

    /// <summary>Completes at the next <see cref="Announce"/>.</summary>
    public Task Changed => _changed.Task;

    /// <summary>The events after a number, then those that come, until the job is at rest. A watcher that is slow delays nobody.</summary>
    public async IAsyncEnumerable<JobEvent> WatchAsync(long after, [EnumeratorCancellation] CancellationToken cancellation = default)
    {
        using JobEventReader reader = _log.OpenReader(after);
        while (true)
        {
            // Both taken before looking, so that nothing can come between the look and the wait.
            Task changed = Changed;
            bool isAtRest = _current.IsAtRest;
            foreach (JobEvent happened in reader.Read())
            {
                yield return happened;
            }

            if (isAtRest)
            {
                yield break;
            }

            await changed.WaitAsync(cancellation).ConfigureAwait(false);
        }
    }

    /// <summary>All events so far.</summary>
    public IEnumerable<JobEvent> ReadEvents(long after = 0)
    {
        using JobEventReader reader = _log.OpenReader(after);
        foreach (JobEvent happened in reader.Read())
        {
            yield return happened;
        }
    }

    /// <summary>
    /// After a restart: what the log says about a job that was not at rest, and the events that a crash kept from it. A job that was
    /// running goes back to its place in the queue.
    /// </summary>
    internal void Recover()
    {
        TrainingJob job = _current;
        if (!job.IsAtRest)
        {
            job = job with { Costs = job.Costs with { TrainingSeconds = 0, Tokens = 0 } };
            job = ReadEvents().Aggregate(job, (now, happened) => now.After(happened.Happened));
            _current = job with { LastEvent = _log.Last?.Number ?? 0 };
            if (job.State == JobState.Running)
            {
                Change(now => now with { State = JobState.Queued }, StateEvent(JobState.Queued));
                return;
            }
        }

        if (_log.Last?.Happened is not JobStateChanged { State: { } told } || told != job.State)
        {
            bool isPublishingTold = job.PublishedAdapter is null || _log.Last?.Happened is AdapterPublished;
            lock (_lock)
            {
                if (job.IsAtRest && !isPublishingTold)
                {
                    Log(new AdapterPublished(job.PublishedAdapter!) { Time = Now, Step = job.Step });
                }

                Log(StateEvent(job.State));
            }
        }
    }

    /// <summary>The event of coming into a state now.</summary>
    public JobStateChanged StateEvent(JobState state) => new(state) { Time = Now, Step = _current.Step };

    // Lock held.
    private void Log(TrainingEvent happened)
    {
        JobEvent written = _log.Append(happened, isDurable: happened is not StepDone);
        _current = _current.After(happened) with { LastEvent = written.Number };
    }

    // Lock held. Written aside and renamed: a crash leaves the old file or the new.
    private void Save(TrainingJob job)
    {
        string path = Path.Combine(Folder, StateName);
        string aside = path + ".writing";
        _files.DeleteTree(aside);
        _files.WriteFile(aside, SealedJson.Write(job));
        _files.ReplaceFile(aside, path);
        _files.SyncDirectory(Folder);
    }

    private static TaskCompletionSource NewSignal() => new(TaskCreationOptions.RunContinuationsAsynchronously);
}
