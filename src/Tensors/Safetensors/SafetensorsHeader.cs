using System.Buffers.Binary;
using System.Text;
using System.Text.Json;

namespace InferenceServer.Tensors.Safetensors;

/// <summary>
/// The header of a safetensors file: 8 bytes little-endian length N, then N bytes of JSON, then the data. Everything is checked
/// before any data is touched; memory taken is in proportion to the header, which cannot be larger than the file.
/// </summary>
public sealed class SafetensorsHeader
{
    /// <summary>Largest header accepted, in bytes; the limit of the reference implementation.</summary>
    public const int MaxHeaderBytes = 100_000_000;

    private SafetensorsHeader(IReadOnlyDictionary<string, SafetensorsEntry> entries, IReadOnlyDictionary<string, string> metadata, long dataStart)
    {
        Entries = entries;
        Metadata = metadata;
        DataStart = dataStart;
    }

    /// <summary>The tensors by name.</summary>
    public IReadOnlyDictionary<string, SafetensorsEntry> Entries { get; }

    /// <summary>The <c>__metadata__</c> strings.</summary>
    public IReadOnlyDictionary<string, string> Metadata { get; }

    /// <summary>First byte after the header.</summary>
    public long DataStart { get; }

    /// <summary>Reads and checks the header at the start of a stream.</summary>
    /// <param name="stream">Positioned at the file's start.</param>
    /// <param name="fileLength">Length of the whole file in bytes.</param>
    /// <param name="fileName">Name for messages.</param>
    /// <exception cref="SafetensorsFormatException">The file breaks the format.</exception>
    public static SafetensorsHeader Read(Stream stream, long fileLength, string fileName)
    {
        if (fileLength < 8)
        {
            throw new SafetensorsFormatException(fileName, $"truncated: {fileLength} bytes, a safetensors file has at least 8");
        }

        Span<byte> prefix = stackalloc byte[8];
        stream.ReadExactly(prefix);
        ulong length = BinaryPrimitives.ReadUInt64LittleEndian(prefix);
        if (length > MaxHeaderBytes)
        {
            throw new SafetensorsFormatException(fileName, $"header length {length} exceeds the limit {MaxHeaderBytes}");
        }

        if ((long)length > fileLength - 8)
        {
            throw new SafetensorsFormatException(fileName, $"header length {length} exceeds the {fileLength - 8} bytes that follow it");
        }

        byte[] json = new byte[length];
        stream.ReadExactly(json);
        try
        {
            return Parse(json, fileLength, fileName);
        }
        catch (JsonException error)
        {
            throw new SafetensorsFormatException(fileName, $"header is not valid JSON: {error.Message}", error);
        }
        catch (InvalidOperationException error)
        {
            // Utf8JsonReader.GetString on ill-formed UTF-8 or a lone surrogate.
            throw new SafetensorsFormatException(fileName, $"header holds an invalid string: {error.Message}", error);
        }
    }

    private static SafetensorsHeader Parse(ReadOnlySpan<byte> json, long fileLength, string fileName)
    {
        Utf8JsonReader reader = new(json, new JsonReaderOptions { MaxDepth = 8 });
        Dictionary<string, SafetensorsEntry> entries = new(StringComparer.Ordinal);
        Dictionary<string, string> metadata = new(StringComparer.Ordinal);
        long dataStart = 8 + json.Length;
        Expect(reader.Read() && reader.TokenType == JsonTokenType.StartObject, fileName, "header is not a JSON object");
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            string name = reader.GetString()!;
            reader.Read();
            Expect(reader.TokenType == JsonTokenType.StartObject, fileName, $"entry '{Shorten(name)}' is not an object");
            if (name == "__metadata__")
            {
                ReadMetadata(ref reader, metadata, fileName);
                continue;
            }

            SafetensorsEntry entry = ReadEntry(ref reader, name, dataStart, fileLength, fileName);
            Expect(entries.TryAdd(name, entry), fileName, $"tensor '{Shorten(name)}' is listed twice");
        }

        Expect(reader.TokenType == JsonTokenType.EndObject, fileName, "header ends early");
        CheckLayout(entries.Values, dataStart, fileLength, fileName);
        return new SafetensorsHeader(entries, metadata, dataStart);
    }

    private static void ReadMetadata(ref Utf8JsonReader reader, Dictionary<string, string> metadata, string fileName)
    {
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            string key = reader.GetString()!;
            reader.Read();
            Expect(reader.TokenType == JsonTokenType.String, fileName, $"__metadata__ '{Shorten(key)}' is not a string");
            metadata[key] = reader.GetString()!;
        }
    }

    private static SafetensorsEntry ReadEntry(ref Utf8JsonReader reader, string name, long dataStart, long fileLength, string fileName)
    {
        string shown = Shorten(name);
        DType? type = null;
        List<long>? shape = null;
        List<long>? offsets = null;
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            string field = reader.GetString()!;
            reader.Read();
            switch (field)
            {
                case "dtype":
                    Expect(reader.TokenType == JsonTokenType.String, fileName, $"tensor '{shown}': dtype is not a string");
                    string dtype = reader.GetString()!;
                    Expect(DTypes.TryParse(dtype, out type), fileName, $"tensor '{shown}': unknown dtype '{Shorten(dtype)}'");
                    break;
                case "shape":
                    shape = ReadNumbers(ref reader, $"tensor '{shown}': shape", 16, fileName);
                    break;
                case "data_offsets":
                    offsets = ReadNumbers(ref reader, $"tensor '{shown}': data_offsets", 2, fileName);
                    break;
                default:
                    throw new SafetensorsFormatException(fileName, $"tensor '{shown}': unknown field '{Shorten(field)}'");
            }
        }

        Expect(type is not null && shape is not null && offsets is { Count: 2 }, fileName, $"tensor '{shown}' lacks dtype, shape or two data_offsets");
        long dataLength = fileLength - dataStart;
        Expect(
            offsets![0] <= offsets[1] && offsets[1] <= dataLength,
            fileName,
            $"tensor '{shown}': data_offsets [{offsets[0]}, {offsets[1]}] lie outside the file's {dataLength} data bytes");
        long byteCount = offsets[1] - offsets[0];
        UInt128 needed = (UInt128)type!.Value.ByteSize();
        foreach (long dimension in shape!)
        {
            // 16 dimensions of up to 2^63 could overflow; saturate as soon as no file can hold it.
            needed = needed > (UInt128)fileLength ? needed : needed * (UInt128)dimension;
        }

        if (shape.Contains(0))
        {
            needed = 0;
        }

        Expect(
            needed == (UInt128)byteCount,
            fileName,
            $"tensor '{shown}': shape [{string.Join(", ", shape)}] of {type} does not fit its {byteCount} bytes");
        return new SafetensorsEntry(name, type.Value, [.. shape], dataStart + offsets[0], byteCount);
    }

    private static List<long> ReadNumbers(ref Utf8JsonReader reader, string what, int most, string fileName)
    {
        Expect(reader.TokenType == JsonTokenType.StartArray, fileName, $"{what} is not an array");
        List<long> numbers = [];
        while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
        {
            long number = 0;
            Expect(
                reader.TokenType == JsonTokenType.Number && reader.TryGetInt64(out number) && number >= 0,
                fileName,
                $"{what} holds something other than whole numbers from 0");
            Expect(numbers.Count < most, fileName, $"{what} has more than {most} numbers");
            numbers.Add(number);
        }

        return numbers;
    }

    // As the reference implementation: the tensors cover the data without overlap and without holes.
    private static void CheckLayout(IEnumerable<SafetensorsEntry> entries, long dataStart, long fileLength, string fileName)
    {
        long end = dataStart;
        foreach (SafetensorsEntry entry in entries.OrderBy(entry => entry.Offset).ThenBy(entry => entry.ByteCount))
        {
            if (entry.Offset != end)
            {
                string problem = entry.Offset < end ? "overlaps the tensor before it" : "leaves a hole before it";
                throw new SafetensorsFormatException(fileName, $"tensor '{Shorten(entry.Name)}' {problem}");
            }

            end = entry.Offset + entry.ByteCount;
        }

        Expect(end == fileLength, fileName, $"{fileLength - end} bytes after the last tensor");
    }

    private static void Expect(bool condition, string fileName, string problem)
    {
        if (!condition)
        {
            throw new SafetensorsFormatException(fileName, problem);
        }
    }

    // A hostile name may be megabytes long or hold control characters; messages stay readable.
    private static string Shorten(string text)
    {
        StringBuilder shown = new();
        foreach (char c in text.AsSpan(0, Math.Min(text.Length, 120)))
        {
            shown.Append(char.IsControl(c) ? '?' : c);
        }

        return text.Length > 120 ? shown.Append('…').ToString() : shown.ToString();
    }
}
