using System.Buffers.Binary;
using System.Text.Json;

namespace InferenceServer.Tensors.Safetensors;

/// <summary>Writes safetensors files: tensors in the order given, header padded to 8 bytes.</summary>
public static class SafetensorsWriter
{
    /// <summary>One tensor to write.</summary>
    /// <param name="Name">Its name.</param>
    /// <param name="Type">Element type.</param>
    /// <param name="Shape">Dimensions.</param>
    /// <param name="Data">Little-endian elements.</param>
    public sealed record Tensor(string Name, DType Type, long[] Shape, ReadOnlyMemory<byte> Data);

    /// <summary>A tensor whose elements are made only when their place in the file is reached.</summary>
    /// <param name="Name">Its name.</param>
    /// <param name="Type">Element type.</param>
    /// <param name="Shape">Dimensions.</param>
    /// <param name="WriteTo">Writes <see cref="ByteCount"/> bytes, little-endian elements, to the stream.</param>
    public sealed record Source(string Name, DType Type, long[] Shape, Action<Stream> WriteTo)
    {
        /// <summary>Bytes of all elements.</summary>
        public long ByteCount { get; } = Shape.Aggregate((long)Type.ByteSize(), (bytes, dimension) => checked(bytes * dimension));
    }

    /// <summary>An f32 tensor.</summary>
    public static Tensor FromSingles(string name, long[] shape, ReadOnlySpan<float> values) =>
        new(name, DType.F32, shape, System.Runtime.InteropServices.MemoryMarshal.AsBytes(values).ToArray());

    /// <summary>Writes a whole file to a stream.</summary>
    public static void Write(Stream target, IReadOnlyList<Tensor> tensors, IReadOnlyDictionary<string, string>? metadata = null)
    {
        ArgumentNullException.ThrowIfNull(tensors);
        Write(target, [.. tensors.Select(tensor => new Source(tensor.Name, tensor.Type, tensor.Shape, to => to.Write(tensor.Data.Span)))], metadata);
    }

    /// <inheritdoc cref="Write(Stream, IReadOnlyList{Tensor}, IReadOnlyDictionary{string, string}?)"/>
    public static void Write(Stream target, IReadOnlyList<Source> tensors, IReadOnlyDictionary<string, string>? metadata = null)
    {
        ArgumentNullException.ThrowIfNull(target);
        ArgumentNullException.ThrowIfNull(tensors);
        byte[] header = Header(tensors, metadata);
        Span<byte> prefix = stackalloc byte[8];
        BinaryPrimitives.WriteInt64LittleEndian(prefix, header.Length);
        target.Write(prefix);
        target.Write(header);
        foreach (Source tensor in tensors)
        {
            tensor.WriteTo(target);
        }
    }

    private static byte[] Header(IReadOnlyList<Source> tensors, IReadOnlyDictionary<string, string>? metadata)
    {
        using MemoryStream stream = new();
        using (Utf8JsonWriter writer = new(stream))
        {
            writer.WriteStartObject();
            if (metadata is { Count: > 0 })
            {
                writer.WriteStartObject("__metadata__");
                foreach ((string key, string value) in metadata)
                {
                    writer.WriteString(key, value);
                }

                writer.WriteEndObject();
            }

            long offset = 0;
            foreach (Source tensor in tensors)
            {
                writer.WriteStartObject(tensor.Name);
                writer.WriteString("dtype", tensor.Type.ToString().ToUpperInvariant());
                writer.WriteStartArray("shape");
                foreach (long dimension in tensor.Shape)
                {
                    writer.WriteNumberValue(dimension);
                }

                writer.WriteEndArray();
                writer.WriteStartArray("data_offsets");
                writer.WriteNumberValue(offset);
                offset += tensor.ByteCount;
                writer.WriteNumberValue(offset);
                writer.WriteEndArray();
                writer.WriteEndObject();
            }

            writer.WriteEndObject();
        }

        // The format asks that data begins on an 8-byte boundary; the padding is spaces.
        while (stream.Length % 8 != 0)
        {
            stream.WriteByte((byte)' ');
        }

        return stream.ToArray();
    }
}
