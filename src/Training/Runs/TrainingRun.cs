using System.Globalization;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using InferenceServer.AdapterStore.Catalog;
using InferenceServer.Training.Checkpoints;
using InferenceServer.Training.Data;

namespace InferenceServer.Training.Runs;

/// <summary>
/// Trains over a data set from start, or from the last checkpoint in its folder, to the end. The folder holds <c>checkpoints/</c>,
/// <c>log.jsonl</c>, and the adapters <c>adapter-best-step-N</c> (lowest held-out loss) and <c>adapter-last</c> in PEFT's format.
/// </summary>
public sealed class TrainingRun
{
    /// <summary>Name of the log in the run's folder.</summary>
    public const string LogName = "log.jsonl";

    private const string BestPrefix = "adapter-best-step-";

    private readonly Trainer _trainer;
    private readonly Dataset _train;
    private readonly Dataset _heldOut;
    private readonly RunOptions _options;
    private readonly string _folder;
    private readonly TimeProvider _clock;
    private readonly StoreFiles _files;
    private readonly CheckpointStore _checkpoints;
    private readonly BatchSource _source;
    private readonly IReadOnlyList<SupervisedBatch> _heldOutBatches;
    private RunProgress _progress;
    private string? _checkpoint;

    /// <param name="trainer">Fresh: no step done. Only this run uses it meanwhile.</param>
    /// <param name="train">The samples to learn.</param>
    /// <param name="heldOut">The samples to judge by; may be empty, then nothing is evaluated.</param>
    /// <param name="options">Length and intervals.</param>
    /// <param name="folder">Made when it is missing; for one run only.</param>
    /// <param name="clock">Null for the system's.</param>
    /// <exception cref="ArgumentException">A value is out of its range, or a sample is longer than a batch may be.</exception>
    public TrainingRun(Trainer trainer, Dataset train, Dataset heldOut, RunOptions options, string folder, TimeProvider? clock = null)
        : this(trainer, train, heldOut, options, folder, clock, new StoreFiles())
    {
    }

    internal TrainingRun(
        Trainer trainer, Dataset train, Dataset heldOut, RunOptions options, string folder, TimeProvider? clock, StoreFiles files)
    {
        ArgumentNullException.ThrowIfNull(trainer);
        ArgumentNullException.ThrowIfNull(train);
        ArgumentNullException.ThrowIfNull(heldOut);
        ArgumentNullException.ThrowIfNull(options);
        ArgumentOutOfRangeException.ThrowIfNotEqual(trainer.StepCount, 0, "steps of the trainer");
        options.Check();
        if (options.Patience > 0 && (heldOut.Samples.Count == 0 || options.EvaluateEvery == 0))
        {
            throw new ArgumentException($"Patience {options.Patience} needs a held-out set and EvaluateEvery of at least 1");
        }

        _trainer = trainer;
        _train = train;
        _heldOut = heldOut;
        _options = options;
        _folder = Path.GetFullPath(folder);
        _clock = clock ?? TimeProvider.System;
        _files = files;
        _checkpoints = new CheckpointStore(Path.Combine(_folder, "checkpoints"), options.KeepCheckpoints, files);
        TrainingOptions limits = trainer.Options;
        _source = new BatchSource(train, limits.MaxBatchTokens, limits.MaxSequences, options.DataSeed);
        _heldOutBatches = heldOut.Samples.Count == 0
            ? []
            : new BatchSource(heldOut, limits.MaxBatchTokens, limits.MaxSequences, seed: null).Batches;
        _progress = new RunProgress { Conditions = CreateConditions() };
    }

    /// <summary>Trains to the end, or until it is asked to stop; blocks meanwhile.</summary>
    /// <param name="watcher">Told of everything that is logged, on the same thread.</param>
    /// <param name="cancellation">Asks to stop after the step at hand; a checkpoint is written then.</param>
    /// <exception cref="TrainingFailedException">A loss, a gradient or a parameter is not finite; names the last good checkpoint.</exception>
    /// <exception cref="CheckpointException">A checkpoint cannot be written or read.</exception>
    /// <exception cref="IOException">The log or an adapter cannot be written; the checkpoints are still there.</exception>
    public RunResult Run(Action<TrainingEvent>? watcher = null, CancellationToken cancellation = default)
    {
        Directory.CreateDirectory(_folder);
        using RunLog log = new(Path.Combine(_folder, LogName));
        try
        {
            return Train(Tell, cancellation);
        }
        catch (TrainingFailedException error)
        {
            string last = _checkpoints.Latest is { } folder ? $"the last good checkpoint is '{folder}'" : "there is no checkpoint";
            TrainingFailedException failure = new($"{error.Message}; {last}", error);
            TellFailure(failure.Message);
            throw failure;
        }
        catch (CheckpointException error)
        {
            TellFailure(error.Message);
            throw;
        }

        void TellFailure(string reason)
        {
            RunFailed failed = new(reason) { Time = Now, Step = _trainer.StepCount };
            try
            {
                log.Write(failed);
            }
            catch (IOException)
            {
                // The disk that refused a checkpoint refuses this line too; what is thrown says more.
            }

            watcher?.Invoke(failed);
        }

        void Tell(TrainingEvent happened)
        {
            log.Write(happened);
            watcher?.Invoke(happened);
        }
    }

    private DateTimeOffset Now => _clock.GetUtcNow();

    private RunResult Train(Action<TrainingEvent> tell, CancellationToken cancellation)
    {
        if (_checkpoints.RestoreLatest(_trainer, _progress.Conditions) is { } progress)
        {
            _progress = progress;
            _source.Position = progress.Position;
            _checkpoint = _checkpoints.Latest;
        }

        tell(new RunStarted(_options.Steps, _train.Samples.Count, _heldOut.Samples.Count, _checkpoints.Damaged)
        {
            TrainableParameters = _trainer.TrainedParameters.Sum(parameter => parameter.Count),
            Time = Now,
            Step = _trainer.StepCount,
        });
        int firstStep = _trainer.StepCount;
        long started = _clock.GetTimestamp();
        while (_trainer.StepCount < _options.Steps && !HasLostPatience)
        {
            if (cancellation.IsCancellationRequested)
            {
                SaveCheckpoint(tell);
                return End(RunOutcome.Cancelled, lastAdapter: null, tell);
            }

            Step(tell, firstStep, started);
            int step = _trainer.StepCount;
            bool isLast = step == _options.Steps;
            if (_heldOutBatches.Count > 0 && (isLast || IsDue(_options.EvaluateEvery, step)))
            {
                Evaluate(tell);
            }

            if (!isLast && IsDue(_options.CheckpointEvery, step))
            {
                SaveCheckpoint(tell);
            }
        }

        SaveCheckpoint(tell);
        string? last = null;
        if (_trainer.Recipe is not null)
        {
            last = Path.Combine(_folder, "adapter-last");
            DurableFolder.WriteAdapter(_files, _trainer, last);
        }

        return End(_trainer.StepCount < _options.Steps ? RunOutcome.StoppedEarly : RunOutcome.Completed, last, tell);
    }

    private bool HasLostPatience => _options.Patience > 0 && _progress.EvaluationsSinceBest >= _options.Patience;

    private static bool IsDue(int interval, int step) => interval > 0 && step % interval == 0;

    private void Step(Action<TrainingEvent> tell, int firstStep, long started)
    {
        int epoch = _source.Position.Epoch;
        SupervisedBatch[] batches = [.. Enumerable.Range(0, _options.MicroBatches).Select(_ => _source.Next())];
        long stepStarted = _clock.GetTimestamp();
        TrainingStep step = _trainer.Step(batches);
        long ended = _clock.GetTimestamp();
        double seconds = _clock.GetElapsedTime(stepStarted, ended).TotalSeconds;
        TimeSpan perStep = _clock.GetElapsedTime(started, ended) / (step.Number - firstStep);
        _progress = _progress with { Position = _source.Position };
        int tokens = batches.Sum(batch => batch.TokenCount);
        tell(new StepDone(
            step.Loss,
            step.GradientNorm,
            step.LearningRates[0],
            epoch,
            seconds > 0 ? tokens / seconds : 0,
            perStep * (_options.Steps - step.Number))
        {
            Tokens = tokens,
            Seconds = seconds,
            PeakBytes = _trainer.PeakBytes,
            Time = Now,
            Step = step.Number,
        });
    }

    private void Evaluate(Action<TrainingEvent> tell)
    {
        EvaluationResult result = EvaluationResult.Of(_trainer, _heldOutBatches);
        int step = _trainer.StepCount;
        if (!double.IsFinite(result.Loss))
        {
            throw new TrainingFailedException($"the held-out loss after step {step} is {result.Loss}");
        }

        bool isBest = _progress.BestLoss is not { } best || result.Loss < best - _options.MinImprovement;
        if (isBest && _trainer.Recipe is not null)
        {
            DurableFolder.WriteAdapter(_files, _trainer, BestFolder(step));
        }

        _progress = isBest
            ? _progress with { BestLoss = result.Loss, BestStep = step, EvaluationsSinceBest = 0 }
            : _progress with { EvaluationsSinceBest = _progress.EvaluationsSinceBest + 1 };
        tell(new Evaluated(result.Loss, result.Perplexity, isBest) { Time = Now, Step = step });
    }

    private void SaveCheckpoint(Action<TrainingEvent> tell)
    {
        _checkpoint = _checkpoints.Save(_trainer, _progress);

        // Only now is the new best one's step on disk; a run resumed from an older checkpoint needs the older one.
        string best = BestFolder(_progress.BestStep);
        foreach (string folder in Directory.GetDirectories(_folder, BestPrefix + "*").Where(folder => folder != best))
        {
            _files.DeleteTree(folder);
        }

        tell(new CheckpointSaved(_checkpoint) { Time = Now, Step = _trainer.StepCount });
    }

    private RunResult End(RunOutcome outcome, string? lastAdapter, Action<TrainingEvent> tell)
    {
        tell(new RunEnded(outcome) { Time = Now, Step = _trainer.StepCount });
        string best = BestFolder(_progress.BestStep);
        return new RunResult(
            outcome,
            _trainer.StepCount,
            _progress.BestLoss,
            _progress.BestStep,
            Directory.Exists(best) ? best : null,
            lastAdapter,
            _checkpoint!);
    }

    private string BestFolder(int step) => Path.Combine(_folder, string.Create(CultureInfo.InvariantCulture, $"{BestPrefix}{step:D8}"));

    private Dictionary<string, string> CreateConditions()
    {
        using IncrementalHash hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach (Dataset dataset in (Dataset[])[_train, _heldOut])
        {
            hash.AppendData(BitConverter.GetBytes(dataset.Samples.Count));
            foreach ((int[] tokens, int[] labels) in dataset.Samples)
            {
                hash.AppendData(BitConverter.GetBytes(tokens.Length));
                hash.AppendData(MemoryMarshal.AsBytes<int>(tokens));
                hash.AppendData(MemoryMarshal.AsBytes<int>(labels));
            }
        }

        return new Dictionary<string, string>(StringComparer.Ordinal)
        {
            ["data set"] = Convert.ToHexStringLower(hash.GetHashAndReset()),
            [nameof(RunOptions.DataSeed)] = _options.DataSeed.ToString(CultureInfo.InvariantCulture),
            [nameof(RunOptions.MicroBatches)] = _options.MicroBatches.ToString(CultureInfo.InvariantCulture),
        };
    }
}
