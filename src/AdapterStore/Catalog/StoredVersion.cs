using System.Buffers;
using System.Buffers.Binary;
using System.Security.Cryptography;
using InferenceServer.AdapterStore.Import;
using InferenceServer.Tensors.Adapters;
using InferenceServer.Tensors.Safetensors;
using Microsoft.Win32.SafeHandles;

namespace InferenceServer.AdapterStore.Catalog;

/// <summary>The folder of one version: its files, and whether they still are what was stored.</summary>
internal static class StoredVersion
{
    public const string RecordFileName = "record.json";

    private const int HashBufferBytes = 256 << 10;

    // Read at a time: large enough for the disk to stay ahead.
    private const int PieceBytes = 1 << 20;

    /// <summary>Reads the record of a folder and checks the files against it.</summary>
    /// <exception cref="InvalidDataException">Something is missing or damaged.</exception>
    public static AdapterRecord Read(string folder, AdapterId id)
    {
        AdapterRecord record = SealedJson.Read<AdapterRecord>(Path.Combine(folder, RecordFileName));
        if (record.Id != id)
        {
            throw new InvalidDataException($"{RecordFileName} is of {record.Id}");
        }

        Check(folder, record);
        return record;
    }

    /// <summary>The dear check: the SHA-256 of every file.</summary>
    /// <exception cref="InvalidDataException">One has changed.</exception>
    public static void CheckContents(string folder, AdapterRecord record, CancellationToken cancellation)
    {
        CheckHash(folder, PeftImporter.ConfigFileName, record.Config, cancellation);
        CheckHash(folder, PeftImporter.WeightsFileName, record.Weights, cancellation);
        if (record.Derived is { } derived)
        {
            CheckHash(folder, DerivedFile.FileName, derived, cancellation);
        }
    }

    /// <summary>The cheap check: sizes, and the header of the weights.</summary>
    /// <exception cref="InvalidDataException">Something is missing or damaged.</exception>
    public static void Check(string folder, AdapterRecord record)
    {
        CheckLengths(folder, record);
        CheckHeader(folder, record);
    }

    /// <summary>Checks the header of the weights.</summary>
    /// <exception cref="InvalidDataException">It is not what was stored.</exception>
    public static void CheckHeader(string folder, AdapterRecord record) =>
        CheckHeader(HashHeader(Path.Combine(folder, PeftImporter.WeightsFileName)), record.HeaderSha256);

    /// <summary>The cheapest check: sizes.</summary>
    /// <exception cref="InvalidDataException">Something is missing or damaged.</exception>
    public static void CheckLengths(string folder, AdapterRecord record)
    {
        CheckLength(folder, PeftImporter.ConfigFileName, record.Config);
        CheckLength(folder, PeftImporter.WeightsFileName, record.Weights);
        if (record.Derived is { } derived)
        {
            CheckLength(folder, DerivedFile.FileName, derived);
        }
    }

    /// <summary>Reads the weights whole, from front to back, and checks their size and header.</summary>
    /// <exception cref="InvalidDataException">They are not what was stored.</exception>
    /// <exception cref="OperationCanceledException">Cancelled between two pieces; the memory went back.</exception>
    public static StoredBytes ReadWeights(string folder, AdapterRecord record, StoredBytesPool memory, CancellationToken cancellation)
    {
        string path = Path.Combine(folder, PeftImporter.WeightsFileName);
        using SafeFileHandle file = File.OpenHandle(path, FileMode.Open, FileAccess.Read, FileShare.Read | FileShare.Delete, FileOptions.SequentialScan);
        if (RandomAccess.GetLength(file) != record.Weights.Bytes)
        {
            throw new InvalidDataException($"{PeftImporter.WeightsFileName} has {RandomAccess.GetLength(file)} bytes, stored were {record.Weights.Bytes}");
        }

        StoredBytes bytes = memory.Rent(record.Weights.Bytes);
        try
        {
            for (long at = 0; at < bytes.ByteCount;)
            {
                cancellation.ThrowIfCancellationRequested();
                int count = RandomAccess.Read(file, bytes.Slice(at, (int)Math.Min(PieceBytes, bytes.ByteCount - at)), at);
                at += count > 0 ? count : throw new InvalidDataException($"{PeftImporter.WeightsFileName} ends after {at} bytes");
            }

            CheckHeader(HashHeader(bytes), record.HeaderSha256);
            return bytes;
        }
        catch
        {
            bytes.Dispose();
            throw;
        }
    }

    /// <summary>SHA-256 of a safetensors file's length prefix and header.</summary>
    public static string HashHeader(string path)
    {
        using FileStream stream = new(path, FileMode.Open, FileAccess.Read, FileShare.Read | FileShare.Delete);
        byte[] prefix = new byte[sizeof(long)];
        stream.ReadExactly(prefix);
        long length = BinaryPrimitives.ReadInt64LittleEndian(prefix);
        if (length is < 0 or > SafetensorsHeader.MaxHeaderBytes || length > stream.Length - sizeof(long))
        {
            throw new InvalidDataException($"the header of {Path.GetFileName(path)} is damaged");
        }

        byte[] header = new byte[sizeof(long) + length];
        prefix.CopyTo(header, 0);
        stream.ReadExactly(header.AsSpan(sizeof(long)));
        return Convert.ToHexStringLower(SHA256.HashData(header));
    }

    private static string HashHeader(StoredBytes bytes)
    {
        long length = bytes.ByteCount < sizeof(long) ? -1 : BinaryPrimitives.ReadInt64LittleEndian(bytes.Slice(0, sizeof(long)));
        return length is < 0 or > SafetensorsHeader.MaxHeaderBytes || length > bytes.ByteCount - sizeof(long)
            ? throw new InvalidDataException($"the header of {PeftImporter.WeightsFileName} is damaged")
            : Convert.ToHexStringLower(SHA256.HashData(bytes.Slice(0, (int)(sizeof(long) + length))));
    }

    private static void CheckHeader(string found, string stored)
    {
        if (found != stored)
        {
            throw new InvalidDataException($"the header of {PeftImporter.WeightsFileName} has changed");
        }
    }

    private static void CheckLength(string folder, string name, StoredFile stored)
    {
        FileInfo file = new(Path.Combine(folder, name));
        if (!file.Exists || file.Length != stored.Bytes)
        {
            throw new InvalidDataException(file.Exists ? $"{name} has {file.Length} bytes, stored were {stored.Bytes}" : $"{name} is missing");
        }
    }

    private static void CheckHash(string folder, string name, StoredFile stored, CancellationToken cancellation)
    {
        using FileStream stream = new(
            Path.Combine(folder, name), FileMode.Open, FileAccess.Read, FileShare.Read | FileShare.Delete, bufferSize: 0, FileOptions.SequentialScan);
        using IncrementalHash hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        byte[] buffer = ArrayPool<byte>.Shared.Rent(HashBufferBytes);
        for (int count = stream.Read(buffer); count > 0; count = stream.Read(buffer))
        {
            cancellation.ThrowIfCancellationRequested();
            hash.AppendData(buffer, 0, count);
        }

        ArrayPool<byte>.Shared.Return(buffer);
        if (Convert.ToHexStringLower(hash.GetHashAndReset()) != stored.Sha256)
        {
            throw new InvalidDataException($"the contents of {name} have changed");
        }
    }
}
