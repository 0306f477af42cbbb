using System.Buffers;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;

namespace InferenceServer.Models.Tokenization.Bpe;

/// <summary>Byte pair encoding of one piece of text: characters (or bytes) to ids, then merges. Safe for many callers at once.</summary>
internal sealed class BpeModel
{
    private const int StackLimit = 256;

    /// <summary>Characters below this are looked up in a table; the others in the vocabulary. U+2581, the space of sentencepiece, is below.</summary>
    private const int DirectChars = 0x3000;

    private readonly Vocabulary _vocabulary;
    private readonly BpeMerger _merger;
    private readonly BpeOptions _options;
    private readonly PieceCache _cache = new();
    private readonly int[] _directIds = new int[DirectChars];
    private readonly int[]? _fallbackIds;

    /// <param name="vocabulary">All tokens.</param>
    /// <param name="merger">The merges.</param>
    /// <param name="options">How characters become ids.</param>
    public BpeModel(Vocabulary vocabulary, BpeMerger merger, BpeOptions options)
    {
        _vocabulary = vocabulary;
        _merger = merger;
        _options = options;
        Array.Fill(_directIds, -1);
        foreach ((string token, int id) in vocabulary.Tokens)
        {
            if (token.Length == 1 && token[0] < DirectChars)
            {
                _directIds[token[0]] = id;
            }
        }

        _fallbackIds = options.ByteFallback ? FindFallbackIds(vocabulary) : null;
    }

    /// <summary>Appends the ids of one pre-token.</summary>
    public void Encode(ReadOnlySpan<char> piece, List<int> output)
    {
        if (piece.Length > PieceCache.MaxPieceLength)
        {
            EncodeUncached(piece, output);
            return;
        }

        int[]? known = _cache.Find(piece);
        if (known is not null)
        {
            output.AddRange(known);
            return;
        }

        int before = output.Count;
        EncodeUncached(piece, output);
        _cache.Keep(piece, CollectionsMarshal.AsSpan(output)[before..]);
    }

    private void EncodeUncached(ReadOnlySpan<char> piece, List<int> output)
    {
        if (!_options.MapsBytes)
        {
            EncodeSymbols(piece, output);
            return;
        }

        int size = Encoding.UTF8.GetMaxByteCount(piece.Length);
        byte[]? rentedBytes = size > StackLimit ? ArrayPool<byte>.Shared.Rent(size) : null;
        char[]? rentedChars = size > StackLimit ? ArrayPool<char>.Shared.Rent(size) : null;
        Span<byte> bytes = rentedBytes ?? stackalloc byte[StackLimit];
        Span<char> chars = rentedChars ?? stackalloc char[StackLimit];
        int count = Encoding.UTF8.GetBytes(piece, bytes);
        for (int i = 0; i < count; i++)
        {
            chars[i] = ByteAlphabet.ToChar(bytes[i]);
        }

        EncodeSymbols(chars[..count], output);
        if (rentedBytes is not null && rentedChars is not null)
        {
            ArrayPool<byte>.Shared.Return(rentedBytes);
            ArrayPool<char>.Shared.Return(rentedChars);
        }
    }

    private void EncodeSymbols(ReadOnlySpan<char> symbols, List<int> output)
    {
        if (_options.IgnoreMerges && _vocabulary.TryGetId(symbols, out int whole))
        {
            output.Add(whole);
            return;
        }

        int before = output.Count;
        AddSymbolIds(symbols, output);
        int merged = _merger.Merge(CollectionsMarshal.AsSpan(output)[before..]);
        CollectionsMarshal.SetCount(output, before + merged);
    }

    /// <summary>One id per character, several bytes for one that is not in the vocabulary, or the unknown token.</summary>
    private void AddSymbolIds(ReadOnlySpan<char> symbols, List<int> output)
    {
        bool unknownPending = false;
        for (int i = 0; i < symbols.Length;)
        {
            int length = char.IsHighSurrogate(symbols[i]) && i + 1 < symbols.Length ? 2 : 1;
            ReadOnlySpan<char> symbol = symbols.Slice(i, length);
            i += length;
            int id = length == 1 && symbol[0] < DirectChars ? _directIds[symbol[0]] : -1;
            if (id >= 0 || (symbol[0] >= DirectChars && _vocabulary.TryGetId(symbol, out id)))
            {
                FlushUnknown(ref unknownPending, output);
                output.Add(id);
            }
            else if (TryAddBytes(symbol, output))
            {
                // A pending unknown token stays pending here, as in the reference implementation; it needs a vocabulary with both.
                continue;
            }
            else if (_options.UnknownId is not null)
            {
                if (!_options.FuseUnknown)
                {
                    FlushUnknown(ref unknownPending, output);
                }

                unknownPending = true;
            }
        }

        FlushUnknown(ref unknownPending, output);
    }

    private bool TryAddBytes(ReadOnlySpan<char> symbol, List<int> output)
    {
        if (_fallbackIds is null)
        {
            return false;
        }

        Span<byte> bytes = stackalloc byte[4];
        bytes = bytes[..Encoding.UTF8.GetBytes(symbol, bytes)];
        foreach (byte value in bytes)
        {
            if (_fallbackIds[value] < 0)
            {
                return false;
            }
        }

        foreach (byte value in bytes)
        {
            output.Add(_fallbackIds[value]);
        }

        return true;
    }

    private void FlushUnknown(ref bool pending, List<int> output)
    {
        if (pending && _options.UnknownId is int unknown)
        {
            output.Add(unknown);
        }

        pending = false;
    }

    private static int[] FindFallbackIds(Vocabulary vocabulary)
    {
        int[] ids = new int[256];
        for (int value = 0; value < ids.Length; value++)
        {
            if (!vocabulary.TryGetId($"<0x{value.ToString("X2", CultureInfo.InvariantCulture)}>", out ids[value]))
            {
                ids[value] = -1;
            }
        }

        return ids;
    }
}
