using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization;
using InferenceServer.AdapterStore.Catalog;
using InferenceServer.Training.Runs;

namespace InferenceServer.Training.Jobs;

/// <summary>
/// A job's events, one JSON object a line: written by one, read by many, each at its own pace. An event that a reader has seen stays, also
/// when the process is killed.
/// </summary>
internal sealed class JobEventLog
{
    private const int TailBytes = 1 << 16;

    private static readonly JsonSerializerOptions s_options = new()
    {
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
        NumberHandling = JsonNumberHandling.AllowNamedFloatingPointLiterals,
    };

    private readonly StoreFiles _files;
    private readonly string _path;
    private long _length;

    /// <param name="files">The disk.</param>
    /// <param name="path">The log; half a line at its end, which nobody has seen, is cut off.</param>
    public JobEventLog(StoreFiles files, string path)
    {
        _files = files;
        _path = path;
        using FileStream file = new(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.ReadWrite | FileShare.Delete);
        (_length, Last) = FindEnd(file);
        if (file.Length > _length)
        {
            file.SetLength(_length);
        }
    }

    /// <summary>The newest event; null in an empty log.</summary>
    public JobEvent? Last { get; private set; }

    /// <summary>Bytes of whole lines; readers go as far.</summary>
    public long Length => Volatile.Read(ref _length);

    /// <summary>Appends an event.</summary>
    /// <param name="happened">The event.</param>
    /// <param name="isDurable">Whether it has to outlive a power failure; a killed process loses none in either case.</param>
    /// <exception cref="IOException">The disk refuses; the log is as before.</exception>
    public JobEvent Append(TrainingEvent happened, bool isDurable)
    {
        JobEvent next = new((Last?.Number ?? 0) + 1, happened);
        byte[] line = [.. JsonSerializer.SerializeToUtf8Bytes(next, s_options), (byte)'\n'];
        using FileStream file = new(_path, FileMode.Open, FileAccess.Write, FileShare.ReadWrite | FileShare.Delete, bufferSize: 0);
        try
        {
            file.Seek(_length, SeekOrigin.Begin);
            _files.Write(file, line);
            if (isDurable)
            {
                _files.Sync(file);
            }
        }
        catch (IOException)
        {
            file.SetLength(_length);
            throw;
        }

        Last = next;
        Volatile.Write(ref _length, _length + line.Length);
        return next;
    }

    /// <summary>Reads from the first event that comes after a number; each call of the result's Read goes on.</summary>
    public JobEventReader OpenReader(long after) =>
        new(this, new FileStream(_path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete, bufferSize: 0), after);

    internal static JobEvent Parse(ReadOnlySpan<byte> line) =>
        JsonSerializer.Deserialize<JobEvent>(line, s_options) ?? throw new InvalidDataException("a line of the event log is null");

    /// <summary>Where the last whole line ends, and what it says.</summary>
    private static (long Length, JobEvent? Last) FindEnd(FileStream file)
    {
        for (long take = TailBytes; ; take *= 4)
        {
            int count = (int)Math.Min(take, file.Length);
            byte[] tail = new byte[count];
            file.Seek(-count, SeekOrigin.End);
            file.ReadExactly(tail);
            int end = tail.AsSpan().LastIndexOf((byte)'\n');
            int start = end < 0 ? -1 : tail.AsSpan(0, end).LastIndexOf((byte)'\n');
            if (end >= 0 && (start >= 0 || count == file.Length))
            {
                return (file.Length - count + end + 1, Parse(tail.AsSpan(start + 1, end - start - 1)));
            }

            if (count == file.Length)
            {
                return (0, null);
            }
        }
    }
}
