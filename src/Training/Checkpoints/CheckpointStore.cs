using System.Globalization;
using InferenceServer.AdapterStore.Catalog;
using InferenceServer.Tensors.Safetensors;

namespace InferenceServer.Training.Checkpoints;

/// <summary>
/// A run's checkpoints, one folder each. A checkpoint is written beside the others, made durable and renamed to its place, so that a crash
/// at any moment leaves the one before it; only then older ones are deleted. A run resumed from one ends with the very bits of a run that
/// was never interrupted.
/// </summary>
public sealed class CheckpointStore
{
    private const string WritingPrefix = ".writing-";

    private readonly string _folder;
    private readonly int _keepLast;
    private readonly StoreFiles _files;
    private readonly List<string> _damaged = [];

    /// <param name="folder">Made when it is missing; for one run only.</param>
    /// <param name="keepLast">Checkpoints to keep, at least 1.</param>
    public CheckpointStore(string folder, int keepLast)
        : this(folder, keepLast, new StoreFiles())
    {
    }

    internal CheckpointStore(string folder, int keepLast, StoreFiles files)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(keepLast, 1);
        _folder = folder;
        _keepLast = keepLast;
        _files = files;
    }

    /// <summary>Checkpoints that <see cref="RestoreLatest"/> found damaged and passed over, with the reason.</summary>
    public IReadOnlyList<string> Damaged => _damaged;

    /// <summary>Folder of the newest checkpoint; null when there is none.</summary>
    public string? Latest => Folders().LastOrDefault();

    /// <summary>Writes a checkpoint.</summary>
    /// <returns>Its folder.</returns>
    /// <exception cref="CheckpointException">It cannot be written (a full disk); those before it are still there.</exception>
    /// <exception cref="TrainingFailedException">A parameter is not finite; nothing is written.</exception>
    public string Save(Trainer trainer, RunProgress progress)
    {
        ArgumentNullException.ThrowIfNull(trainer);
        ArgumentNullException.ThrowIfNull(progress);
        TrainerState state = trainer.CaptureState();

        // Numbered by their writing, so that a step that is done again after a damaged checkpoint needs no place that is taken.
        int number = Latest is { } latest ? NumberOf(latest) + 1 : 1;
        string name = string.Create(CultureInfo.InvariantCulture, $"{number:D8}-step-{state.StepCount:D8}");
        string target = Path.Combine(_folder, name);
        string temporary = Path.Combine(_folder, WritingPrefix + name);
        try
        {
            _files.CreateDirectory(_folder);
            DeleteUnfinished();
            _files.CreateDirectory(temporary);
            CheckpointFile.Write(_files, temporary, state, progress, AllConditions(trainer, progress));
            _files.MoveDirectory(temporary, target);
            _files.SyncDirectory(_folder);
            string[] all = Folders();
            foreach (string old in all[..Math.Max(0, all.Length - _keepLast)])
            {
                _files.DeleteTree(old);
            }

            return target;
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            TryDelete(temporary);
            throw new CheckpointException($"checkpoint '{target}' cannot be written: {error.Message}", error);
        }
    }

    /// <summary>Brings a fresh trainer of the same options, recipe and base to the newest checkpoint that is whole.</summary>
    /// <param name="trainer">Receives the state.</param>
    /// <param name="conditions">What else must be as it was; see <see cref="RunProgress.Conditions"/>.</param>
    /// <returns>The progress written with it; null when there is no checkpoint.</returns>
    /// <exception cref="CheckpointException">All are damaged, or it is of a run under other conditions.</exception>
    public RunProgress? RestoreLatest(Trainer trainer, IReadOnlyDictionary<string, string>? conditions = null)
    {
        ArgumentNullException.ThrowIfNull(trainer);
        _damaged.Clear();
        foreach (string folder in Folders().Reverse())
        {
            TrainerState state;
            RunProgress progress;
            IReadOnlyDictionary<string, string> written;
            try
            {
                (state, progress, written) = CheckpointFile.Read(folder);
            }
            catch (Exception error) when (error is IOException or InvalidDataException or SafetensorsFormatException)
            {
                _damaged.Add($"'{folder}': {error.Message}");
                continue;
            }

            Compare(folder, written, AllConditions(trainer, new RunProgress { Conditions = conditions ?? progress.Conditions }));
            try
            {
                trainer.RestoreState(state);
            }
            catch (InvalidDataException error)
            {
                throw new CheckpointException($"checkpoint '{folder}' is of another run: {error.Message}", error);
            }

            return progress;
        }

        return _damaged.Count == 0 ? null : throw new CheckpointException("no checkpoint can be read: " + string.Join("; ", _damaged));
    }

    private static Dictionary<string, string> AllConditions(Trainer trainer, RunProgress progress) =>
        new(trainer.Conditions.Concat(progress.Conditions), StringComparer.Ordinal);

    private static void Compare(string folder, IReadOnlyDictionary<string, string> then, Dictionary<string, string> now)
    {
        foreach (string name in then.Keys.Union(now.Keys).Order(StringComparer.Ordinal))
        {
            string before = then.GetValueOrDefault(name, "nothing");
            string after = now.GetValueOrDefault(name, "nothing");
            if (before != after)
            {
                throw new CheckpointException($"checkpoint '{folder}' was written with {name} {before}, this run has {after}");
            }
        }
    }

    private static int NumberOf(string folder) =>
        int.TryParse(Path.GetFileName(folder).Split("-step-")[0], NumberStyles.None, CultureInfo.InvariantCulture, out int number)
            ? number
            : 0;

    private string[] Folders() => Directory.Exists(_folder)
        ? [.. Directory.GetDirectories(_folder, "*-step-*").Where(folder => NumberOf(folder) > 0).Order(StringComparer.Ordinal)]
        : [];

    private void DeleteUnfinished()
    {
        foreach (string folder in Directory.GetDirectories(_folder, WritingPrefix + "*"))
        {
            _files.DeleteTree(folder);
        }
    }

    private void TryDelete(string folder)
    {
        try
        {
            // What was written of it would only keep a full disk full.
            _files.DeleteTree(folder);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            // The next one to be written deletes it.
        }
    }
}
