using System.Runtime.ExceptionServices;
using InferenceServer.AdapterStore;
using InferenceServer.AdapterStore.Cache;
using InferenceServer.AdapterStore.Catalog;
using InferenceServer.Engine;
using InferenceServer.Models;
using InferenceServer.Models.Transformer;
using InferenceServer.Server.Devices;
using InferenceServer.Server.Hosting;
using InferenceServer.Tensors;
using InferenceServer.Training;
using InferenceServer.Training.Checkpoints;
using InferenceServer.Training.Data;
using InferenceServer.Training.Jobs;
using InferenceServer.Training.Runs;
using Microsoft.Extensions.Options;

namespace InferenceServer.Server.Training;

/// <summary>
/// Does one job after the other. A thread of normal priority takes jobs from the queue, loads, publishes and tells watchers; what computes
/// runs on threads of the lowest priority that are started for the job.
/// </summary>
public sealed class TrainingWorker(
    TrainingJobs jobs,
    LanguageModel served,
    IComputeBackend servingBackend,
    AdapterCatalog catalog,
    AdapterCache cache,
    AdapterPins pins,
    InferenceEngine engine,
    TrainingMetrics metrics,
    IOptions<TrainingServerOptions> options,
    IComputePlatform platform,
    ILogger<TrainingWorker> log)
{
    private const string Concealed = "internal error; the server's log has the reason";

    private readonly AdapterPublisher _publisher = new(catalog);
    private Thread? _thread;
    private volatile bool _isStopping;

    /// <summary>Begins to work, unless training is turned off.</summary>
    public void Start()
    {
        if (options.Value.Enabled)
        {
            _thread = new Thread(Work) { IsBackground = true, Name = "training queue" };
            _thread.Start();
        }
    }

    /// <summary>Lets the job at hand stop after its step; it goes on after the next start.</summary>
    public void BeginStop()
    {
        _isStopping = true;
        jobs.BeginStop();
    }

    /// <summary>Waits for that. Not for a time only: the job computes with the model's memory, which is freed afterwards.</summary>
    public void Join() => _thread?.Join();

    private void Work()
    {
        while (!_isStopping)
        {
            if (jobs.TakeNext() is { } next)
            {
                Do(next);
                jobs.Release(next);
                next.Job.Announce();
            }
            else
            {
                jobs.Wake.Wait();
            }
        }
    }

    private void Do(RunningJob running)
    {
        StoredJob job = running.Job;
        try
        {
            jobs.ThrowIfOfAnotherBase(job);
            job.Change(now => now with { State = JobState.Running, StartedAt = now.StartedAt ?? job.Now }, job.StateEvent(JobState.Running));
            job.Announce();
            bool isFinished = Train(running);
            if (isFinished)
            {
                Finish(job);
            }
            else if (running.IsCancelled)
            {
                End(job, JobState.Cancelled);
            }
            else
            {
                job.Change(now => now with { State = JobState.Queued }, job.StateEvent(JobState.Queued));
            }
        }
        catch (OperationCanceledException) when (running.Stop.IsCancellationRequested)
        {
            EndInterrupted(running);
        }
        catch (Exception error)
        {
            Fail(job, error);
        }
    }

    private bool Train(RunningJob running)
    {
        StoredJob job = running.Job;
        WeightFormat format = job.Spec.BaseWeights ?? served.Transformer.WeightFormat;
        using LanguageModel? own = format == served.Transformer.WeightFormat ? null : Load(served.Folder, format);
        LanguageModel model = own ?? served;
        TrainingLog.Running(log, job.Id, job.Current.Step, format.ToString().ToLowerInvariant());
        using SemaphoreSlim news = new(0);
        ServingFirst gate = new(() => engine.Snapshot().Running > 0, options.Value.PausePerWork, TimeProvider.System, running.Stop);
        JobRunner runner = new(job, catalog, Tell, () => gate.Waited);
        bool isDone = false;
        Compute(job, gate, news, (backend, operations) => isDone = runner.Train(model, backend, operations, running.Stop));
        if (isDone && runner.NeedsJudging)
        {
            // Loaded here, because loading uses the thread pool.
            using LanguageModel? trained = job.AdapterFolder is null ? Load(job.ModelFolder, served.Transformer.WeightFormat) : null;
            Compute(job, gate, news, (backend, _) => runner.Judge(trained ?? model, backend, running.Stop));
        }

        return isDone;

        void Tell(TrainingEvent happened)
        {
            metrics.Record(happened);
            news.Release();
        }
    }

    /// <summary>Runs work on threads of the lowest priority, and tells watchers meanwhile.</summary>
    private void Compute(StoredJob job, ServingFirst gate, SemaphoreSlim news, Action<IComputeBackend, ITrainingBackend> work)
    {
        bool isOver = false;
        ExceptionDispatchInfo? failure = null;
        Thread computing = new(Run) { IsBackground = true, Name = "training" };
        computing.Start();
        while (!Volatile.Read(ref isOver))
        {
            news.Wait();
            job.Announce();
        }

        computing.Join();
        metrics.EndRun();
        failure?.Throw();

        void Run()
        {
            try
            {
                LowPriority.Enter(options.Value.Niceness);
                (IComputeBackend backend, ITrainingBackend operations) = platform.CreateTraining(options.Value.ThreadCount, gate.Pass);
                using (backend)
                using (operations)
                {
                    work(backend, operations);
                }
            }
            catch (Exception error)
            {
                failure = ExceptionDispatchInfo.Capture(error);
            }

            Volatile.Write(ref isOver, true);
            news.Release();
        }
    }

    /// <summary>A model beside the one that is served; activations are made by those who compute with it.</summary>
    private LanguageModel Load(string folder, WeightFormat format) => LanguageModel.Load(folder, servingBackend, new ModelLoadOptions
    {
        Weights = format,
        MaxBatchTokens = 1,
        MaxSampledRows = 1,
        MaxModelLength = served.Transformer.MaxModelLength,
    });

    private void Finish(StoredJob job)
    {
        JobState state = job.Current.Finished!.Outcome == RunOutcome.StoppedEarly ? JobState.StoppedEarly : JobState.Completed;
        if (job.Spec.Publish.Mode == PublishMode.None || job.AdapterFolder is null)
        {
            End(job, state);
            return;
        }

        AdapterId id = _publisher.Publish(job).Id;
        job.Change(
            now => now with { State = state, EndedAt = job.Now, PublishedAdapter = id.ToString() },
            new AdapterPublished(id.ToString()) { Time = job.Now, Step = job.Current.Step },
            job.StateEvent(state));
        LogEnd(job);
        Place(job, id);
    }

    /// <summary>Onto the device, where that is asked for. It is published already: whoever names it loads it.</summary>
    private void Place(StoredJob job, AdapterId id)
    {
        try
        {
            if (job.Spec.Publish.Pin)
            {
                pins.PinAsync(id, CancellationToken.None).GetAwaiter().GetResult();
            }
            else if (job.Spec.Publish.Load)
            {
                cache.PreloadAsync(id, CancellationToken.None).GetAwaiter().GetResult();
            }
        }
        catch (Exception error) when (error is CapacityExceededException or AdapterNotFoundException or AdapterFormatException or IOException)
        {
            TrainingLog.NotLoaded(log, job.Id, id.ToString(), error.Message);
        }
    }

    private void EndInterrupted(RunningJob running)
    {
        try
        {
            if (running.IsCancelled)
            {
                End(running.Job, JobState.Cancelled);
            }
            else
            {
                running.Job.Change(now => now with { State = JobState.Queued }, running.Job.StateEvent(JobState.Queued));
            }
        }
        catch (IOException error)
        {
            TrainingLog.NotSaved(log, running.Job.Id, TrainingJobs.Word(running.Job.Current.State), error);
        }
    }

    private void End(StoredJob job, JobState state)
    {
        job.Change(now => now with { State = state, EndedAt = job.Now }, job.StateEvent(state));
        LogEnd(job);
    }

    private void LogEnd(StoredJob job)
    {
        TrainingJob now = job.Current;
        TrainingLog.Ended(log, job.Id, TrainingJobs.Word(now.State), now.Step, now.Costs.TrainingSeconds, now.PublishedAdapter ?? "nothing");
    }

    private void Fail(StoredJob job, Exception error)
    {
        string reason = Concealed;
        if (SaysAll(error))
        {
            // Clients learn what is wrong with their job, and nothing of this machine's folders.
            reason = error.Message.Replace(job.Folder + Path.DirectorySeparatorChar, "", StringComparison.Ordinal);
            TrainingLog.Failed(log, job.Id, error.Message);
        }
        else
        {
            TrainingLog.Broken(log, job.Id, error);
        }

        try
        {
            job.Change(
                now => now with { State = JobState.Failed, EndedAt = job.Now, Error = reason },
                new RunFailed(reason) { Time = job.Now, Step = job.Current.Step },
                job.StateEvent(JobState.Failed));
        }
        catch (IOException unsaved)
        {
            TrainingLog.NotSaved(log, job.Id, TrainingJobs.Word(JobState.Failed), unsaved);
        }
    }

    private static bool SaysAll(Exception error) => error is TrainingFailedException or CheckpointException or TrainingSpecException
        or DatasetException or AdapterFormatException or AdapterStorageException or ModelFormatException or FailedPreconditionException
        or CapacityExceededException or ArgumentException or OutOfMemoryException or IOException or UnauthorizedAccessException;
}
