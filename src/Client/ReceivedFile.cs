using System.Security.Cryptography;
using InferenceServer.Protocol.V1;

namespace InferenceServer.Client;

/// <summary>One file of a download: beside its place until it is whole and its hash is right, then in it.</summary>
internal sealed class ReceivedFile : IAsyncDisposable
{
    private readonly FileStart _start;
    private readonly string _path;
    private readonly FileStream _stream;
    private readonly IncrementalHash _hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);

    private ReceivedFile(FileStart start, string path)
    {
        _start = start;
        _path = path;
        _stream = new FileStream(path + ".part", FileMode.Create, FileAccess.Write, FileShare.None, bufferSize: 0, useAsync: true);
    }

    public DownloadProgress Progress => new(_start.Name, _stream.Position, _start.SizeBytes);

    /// <summary>Begins a file below a folder.</summary>
    /// <exception cref="InvalidDataException">Its name leads out of the folder.</exception>
    public static ReceivedFile Open(string folder, FileStart start)
    {
        string[] parts = start.Name.Split('/');
        if (parts.Any(part => part is "" or "." or ".." || part != Path.GetFileName(part) || part.AsSpan().ContainsAny('\\', ':', '\0')))
        {
            throw new InvalidDataException($"the server named a file '{start.Name}', which is no name below a folder");
        }

        string path = Path.Combine([folder, .. parts]);
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        return new ReceivedFile(start, path);
    }

    public async Task WriteAsync(ReadOnlyMemory<byte> bytes, CancellationToken cancellationToken)
    {
        _hash.AppendData(bytes.Span);
        await _stream.WriteAsync(bytes, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Checks the file and puts it into its place.</summary>
    /// <exception cref="InvalidDataException">It is not what the server announced.</exception>
    public async Task CompleteAsync()
    {
        string found = Convert.ToHexStringLower(_hash.GetHashAndReset());
        if (_stream.Position != _start.SizeBytes || !found.Equals(_start.Sha256, StringComparison.OrdinalIgnoreCase))
        {
            throw new InvalidDataException(
                $"{_start.Name} came with {_stream.Position} bytes and SHA-256 {found}, announced were {_start.SizeBytes} and {_start.Sha256}");
        }

        await _stream.DisposeAsync().ConfigureAwait(false);
        File.Move(_stream.Name, _path, overwrite: true);
    }

    /// <summary>Removes what is not complete.</summary>
    public async ValueTask DisposeAsync()
    {
        _hash.Dispose();
        await _stream.DisposeAsync().ConfigureAwait(false);
        File.Delete(_stream.Name);
    }
}
