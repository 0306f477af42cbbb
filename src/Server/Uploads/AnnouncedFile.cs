using System.Security.Cryptography;
using InferenceServer.AdapterStore;
using InferenceServer.AdapterStore.Catalog;
using InferenceServer.Engine.Errors;
using InferenceServer.Protocol.V1;

namespace InferenceServer.Server.Uploads;

/// <summary>One file of an upload while its bytes pass: held to the length and the hash that its client announced.</summary>
internal sealed class AnnouncedFile : IDisposable
{
    private readonly string _name;
    private readonly AdapterFilePart _part;
    private readonly long _size;
    private readonly byte[]? _hash;
    private readonly IncrementalHash _hashing = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
    private long _received;

    private AnnouncedFile(string name, AdapterFilePart part, long size, byte[]? hash)
    {
        _name = name;
        _part = part;
        _size = size;
        _hash = hash;
    }

    /// <summary>Takes an announcement.</summary>
    /// <exception cref="InvalidRequestException">A field of it is wrong.</exception>
    /// <exception cref="CapacityExceededException">The file is larger than <paramref name="limit"/>.</exception>
    public static AnnouncedFile Open(FileStart start, AdapterFilePart part, long limit)
    {
        if (start.SizeBytes <= 0)
        {
            throw new InvalidRequestException("file.size_bytes", $"{start.SizeBytes} of {start.Name} is not above 0");
        }

        if (start.SizeBytes > limit)
        {
            throw new CapacityExceededException(
                $"{start.Name} of {start.SizeBytes} bytes exceeds the limit of {limit} bytes", start.SizeBytes, limit);
        }

        return new AnnouncedFile(start.Name, part, start.SizeBytes, ParseHash(start));
    }

    /// <summary>Checks the next bytes and passes them on.</summary>
    public void Write(ReadOnlySpan<byte> bytes, AdapterUpload target)
    {
        if (bytes.Length > _size - _received)
        {
            throw new InvalidRequestException("data", $"{_name} has more than the {_size} bytes announced");
        }

        _received += bytes.Length;
        _hashing.AppendData(bytes);
        target.Write(_part, bytes);
    }

    /// <summary>Checks that the whole file came.</summary>
    /// <exception cref="InvalidRequestException">Bytes are missing, or the hash differs.</exception>
    public void Complete()
    {
        if (_received != _size)
        {
            throw new InvalidRequestException("data", $"{_name} ended after {_received} of the {_size} bytes announced");
        }

        byte[] found = _hashing.GetHashAndReset();
        if (_hash is not null && !found.AsSpan().SequenceEqual(_hash))
        {
            throw new InvalidRequestException(
                "file.sha256", $"{_name} has SHA-256 {Convert.ToHexStringLower(found)}, announced was {Convert.ToHexStringLower(_hash)}");
        }
    }

    public void Dispose()
    {
        _hashing.Dispose();
    }

    private static byte[]? ParseHash(FileStart start)
    {
        if (start.Sha256.Length == 0)
        {
            return null;
        }

        const int HexLength = 2 * SHA256.HashSizeInBytes;
        return start.Sha256.Length == HexLength && start.Sha256.All(char.IsAsciiHexDigit)
            ? Convert.FromHexString(start.Sha256)
            : throw new InvalidRequestException("file.sha256", $"of {start.Name} is not {HexLength} hexadecimal digits");
    }
}
