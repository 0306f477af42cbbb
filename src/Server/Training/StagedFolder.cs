using System.Globalization;
using InferenceServer.AdapterStore;

namespace InferenceServer.Server.Training;

/// <summary>A folder for what passes through a call; it goes with the call, and after a crash at the next start.</summary>
internal sealed class StagedFolder : IDisposable
{
    private const string DataName = "data.jsonl";

    private FileStream? _data;

    /// <param name="data">The server's data folder; the catalog of adapters empties its staging when it is opened.</param>
    public StagedFolder(string data)
    {
        Folder = Path.Combine(Path.GetFullPath(data), "staging", Guid.NewGuid().ToString("N", CultureInfo.InvariantCulture));
        Directory.CreateDirectory(Folder);
    }

    public string Folder { get; }

    /// <summary>Where received data is.</summary>
    public string DataPath => Path.Combine(Folder, DataName);

    /// <summary>Appends received bytes.</summary>
    /// <exception cref="CapacityExceededException">They exceed the limit.</exception>
    public void Write(ReadOnlySpan<byte> bytes, long limit)
    {
        _data ??= new FileStream(DataPath, FileMode.CreateNew, FileAccess.Write, FileShare.None, bufferSize: 0);
        if (bytes.Length > limit - _data.Length)
        {
            throw new CapacityExceededException(
                $"the data set has more than {limit} bytes, the limit", _data.Length + bytes.Length, limit);
        }

        _data.Write(bytes);
    }

    /// <summary>Ends the data; it can be read from then on.</summary>
    public void EndData()
    {
        _data ??= new FileStream(DataPath, FileMode.CreateNew, FileAccess.Write, FileShare.None, bufferSize: 0);
        _data.Dispose();
    }

    public void Dispose()
    {
        _data?.Dispose();
        Directory.Delete(Folder, recursive: true);
    }
}
