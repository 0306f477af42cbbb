using System.Buffers;
using System.Buffers.Binary;
using System.Security.Cryptography;

namespace InferenceServer.AdapterStore;

/// <summary>
/// The digest that identifies an adapter's contents: SHA-256 over, for the config and then the weights, the length (8 bytes,
/// little-endian) and the SHA-256 of the bytes. Hashing each file by itself lets both be hashed while they arrive, in any order and of
/// unknown length; the lengths and the fixed order keep the pair unambiguous.
/// </summary>
public static class AdapterDigest
{
    private static readonly SearchValues<char> s_hex = SearchValues.Create("0123456789abcdef");

    /// <summary>Whether a text is a digest: 64 lower-case hex digits.</summary>
    public static bool IsValid(ReadOnlySpan<char> text) => text.Length == 2 * SHA256.HashSizeInBytes && text.IndexOfAnyExcept(s_hex) < 0;

    /// <summary>Combines both files' lengths and hashes.</summary>
    public static string Combine(long configLength, ReadOnlySpan<byte> configHash, long weightsLength, ReadOnlySpan<byte> weightsHash)
    {
        const int Part = sizeof(long) + SHA256.HashSizeInBytes;
        Span<byte> pair = stackalloc byte[2 * Part];
        BinaryPrimitives.WriteInt64LittleEndian(pair, configLength);
        configHash.CopyTo(pair[sizeof(long)..]);
        BinaryPrimitives.WriteInt64LittleEndian(pair[Part..], weightsLength);
        weightsHash.CopyTo(pair[(Part + sizeof(long))..]);
        return Convert.ToHexStringLower(SHA256.HashData(pair));
    }
}
