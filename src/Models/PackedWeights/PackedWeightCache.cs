using System.Globalization;
using InferenceServer.Models.Checkpoints;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Packed;

namespace InferenceServer.Models.PackedWeights;

/// <summary>
/// A folder of packed weights, so that a second start of the same checkpoint reads them instead of packing. A file is whole or not there:
/// it is written aside, synced and renamed; what a killed process left aside is swept at the next start. Nothing in it is trusted, see
/// <see cref="PackedFile"/>, and nothing of it is needed: every trouble is an event and costs the time of packing.
/// </summary>
public sealed class PackedWeightCache
{
    private const string Extension = ".packed";
    private const string Aside = ".partial";
    private const int KeyDigits = 16;

    private readonly string _folder;
    private readonly PackedCacheOptions _options;
    private readonly IProgress<PackedCacheEvent>? _events;

    /// <param name="folder">Where the files are; made when the first is written.</param>
    /// <param name="options">Bounds.</param>
    /// <param name="events">Told what becomes of the cache, from any thread.</param>
    public PackedWeightCache(string folder, PackedCacheOptions options, IProgress<PackedCacheEvent>? events = null)
    {
        _folder = folder;
        _options = options;
        _events = events;
    }

    /// <summary>Called before each change of the disk, so that a test can stop it there as a full disk would.</summary>
    internal Action<string>? BeforeStep { get; init; }

    /// <summary>Whether this checkpoint is large enough for a file.</summary>
    internal bool IsFor(Checkpoint checkpoint) => checkpoint.ByteCount >= _options.MinimumBytes;

    /// <summary>Where the weights of a key are kept.</summary>
    internal string PathOf(string model, WeightFormat format, string key)
    {
        string name = string.Concat(model.Select(letter => char.IsAsciiLetterOrDigit(letter) || letter is '.' or '-' or '_' ? letter : '_'));
        return Path.Combine(_folder, $"{name}-{format.ToString().ToLowerInvariant()}-{key[..KeyDigits]}{Extension}");
    }

    /// <summary>The file of a key; null when there is none that can be used.</summary>
    internal PackedFile? TryOpen(string path, string key)
    {
        try
        {
            Sweep();
            if (!File.Exists(path))
            {
                return null;
            }

            PackedFile file = PackedFile.Open(path, key);
            Touch(path);
            return file;
        }
        catch (PackedFileException error)
        {
            Refuse(path, error.Problem);
            return null;
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            Report(PackedCacheEventKind.Refused, path, error.Message);
            return null;
        }
    }

    /// <summary>The file was used to the end.</summary>
    internal void Used(PackedFile file) => Report(PackedCacheEventKind.Used, file.FilePath, Bytes(file.ByteCount) + (file.IsMapped ? " used in place" : " copied"));

    /// <summary>Removes a file that must not be used.</summary>
    internal void Refuse(string path, string problem)
    {
        Report(PackedCacheEventKind.Refused, path, problem);
        TryDelete(path);
    }

    /// <summary>Writes the weights of a key; returns once they are durable or it is clear that they will not be.</summary>
    /// <param name="path">Their place.</param>
    /// <param name="key">What they are about.</param>
    /// <param name="backend">The backend that packed them.</param>
    /// <param name="matrices">All of them; kept alive by the caller.</param>
    /// <param name="isCurrent">Asked before the file gets its name: whether the checkpoint is still the one of the key.</param>
    /// <param name="cancellation">Gives up, leaving nothing.</param>
    internal void Save(
        string path,
        string key,
        IPackedWeightBackend backend,
        IReadOnlyList<WeightMatrix> matrices,
        Func<bool> isCurrent,
        CancellationToken cancellation)
    {
        string aside = string.Create(CultureInfo.InvariantCulture, $"{path}.{Environment.ProcessId}{Aside}");
        try
        {
            long byteCount = PackedFileWriter.Measure(key, matrices);
            if (WhyNot(byteCount) is { } reason)
            {
                Report(PackedCacheEventKind.NotSaved, path, reason);
                return;
            }

            Write(path, aside, key, backend, matrices, byteCount, isCurrent, cancellation);
        }
        catch (OperationCanceledException)
        {
            TryDelete(aside);
        }
        catch (Exception error)
        {
            // Whatever it is: the weights are in memory and serve; only the next start is as slow as this one.
            TryDelete(aside);
            Report(PackedCacheEventKind.NotSaved, path, error.Message);
        }
    }

    private void Write(
        string path,
        string aside,
        string key,
        IPackedWeightBackend backend,
        IReadOnlyList<WeightMatrix> matrices,
        long byteCount,
        Func<bool> isCurrent,
        CancellationToken cancellation)
    {
        // Its room is taken at once, so that a full disk shows before gigabytes are written.
        FileStreamOptions create = new()
        {
            Mode = FileMode.Create,
            Access = FileAccess.Write,
            Share = FileShare.Delete,
            PreallocationSize = byteCount,
            BufferSize = PackedFileWriter.BufferBytes,
        };
        BeforeStep?.Invoke("create");
        using (FileStream stream = new(aside, create))
        {
            BeforeStep?.Invoke("write");
            PackedFileWriter.Write(stream, key, backend, matrices, cancellation);
            if (!isCurrent())
            {
                throw new IOException("the checkpoint has changed since it was read");
            }

            // Renamed while it is open and therefore locked: another start's sweep leaves it alone until it has its name.
            BeforeStep?.Invoke("rename");
            File.Move(aside, path, overwrite: true);
        }

        Report(PackedCacheEventKind.Saved, path, Bytes(byteCount));
        Evict(path);
    }

    private string? WhyNot(long byteCount)
    {
        if (byteCount > _options.MaxBytes)
        {
            return $"{Bytes(byteCount)} exceed the cache's {Bytes(_options.MaxBytes)}";
        }

        BeforeStep?.Invoke("create folder");
        Directory.CreateDirectory(_folder);
        long free = new DriveInfo(Path.GetFullPath(_folder)).AvailableFreeSpace - byteCount;
        return free < _options.LeaveFreeBytes
            ? $"{Bytes(byteCount)} would leave {Bytes(Math.Max(free, 0))} on the disk, less than {Bytes(_options.LeaveFreeBytes)}"
            : null;
    }

    /// <summary>Removes what was used longest ago until the rest is within bounds; the newest stays.</summary>
    private void Evict(string newest)
    {
        FileInfo[] files = [.. new DirectoryInfo(_folder).GetFiles("*" + Extension).OrderBy(file => file.LastWriteTimeUtc)];
        long total = files.Sum(file => file.Length);
        foreach (FileInfo file in files.Where(file => file.FullName != Path.GetFullPath(newest)))
        {
            if (total <= _options.MaxBytes)
            {
                return;
            }

            // A server that reads it keeps it until it is closed.
            total -= file.Length;
            TryDelete(file.FullName);
            Report(PackedCacheEventKind.Evicted, file.FullName, Bytes(file.Length));
        }
    }

    /// <summary>Removes what killed processes left half-written; what is locked is being written now.</summary>
    private void Sweep()
    {
        if (!Directory.Exists(_folder))
        {
            return;
        }

        foreach (string path in Directory.GetFiles(_folder, "*" + Aside))
        {
            try
            {
                using (new FileStream(path, FileMode.Open, FileAccess.ReadWrite, FileShare.None))
                {
                    File.Delete(path);
                }
            }
            catch (Exception error) when (error is IOException or UnauthorizedAccessException)
            {
                // Another server's, still at work.
            }
        }
    }

    // For eviction: the time of the last change is the time of the last use.
    private static void Touch(string path)
    {
        try
        {
            File.SetLastWriteTimeUtc(path, DateTime.UtcNow);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            // A folder that can only be read is a cache all the same.
        }
    }

    private static void TryDelete(string path)
    {
        try
        {
            File.Delete(path);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            // It will be refused again.
        }
    }

    private static string Bytes(long count) => string.Create(CultureInfo.InvariantCulture, $"{count / (double)(1 << 20):0.0} MiB");

    private void Report(PackedCacheEventKind kind, string path, string detail) => _events?.Report(new PackedCacheEvent(kind, path, detail));
}
