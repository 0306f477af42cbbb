using System.Buffers;
using System.Buffers.Binary;
using System.IO.Compression;
using System.IO.Pipelines;
using Google.Protobuf;
using Grpc.Core;

namespace Grpc.Wire;

/// <summary>Reads length-prefixed messages from a pipe: a flag byte, four bytes of length (big endian), the message.</summary>
/// <param name="pipe">Where the messages come from; the reader does not complete it.</param>
/// <param name="maxMessageSize">The most bytes of a message, as sent and again decompressed; null for no limit.</param>
/// <param name="encoding">The value of <c>grpc-encoding</c>.</param>
internal sealed class MessageReader(PipeReader pipe, int? maxMessageSize, string? encoding) : DeserializationContext
{
    public const int HeaderSize = 5;

    private readonly int _maxMessageSize = maxMessageSize ?? int.MaxValue - HeaderSize;
    private ReadOnlySequence<byte> _payload;

    public override int PayloadLength => (int)_payload.Length;

    public override byte[] PayloadAsNewBuffer() => _payload.ToArray();

    public override ReadOnlySequence<byte> PayloadAsReadOnlySequence() => _payload;

    /// <summary>Reads the next message, or null at the end of the stream.</summary>
    /// <exception cref="RpcException">INTERNAL for what is no message, RESOURCE_EXHAUSTED for one over the limit.</exception>
    public async ValueTask<T?> ReadAsync<T>(Marshaller<T> marshaller, CancellationToken cancellationToken)
        where T : class
    {
        while (true)
        {
            ReadResult result = await pipe.ReadAsync(cancellationToken).ConfigureAwait(false);
            ReadOnlySequence<byte> buffer = result.Buffer;
            SequencePosition consumed = buffer.Start;
            SequencePosition examined = buffer.End;
            try
            {
                if (TryReadFrame(buffer, out bool compressed))
                {
                    consumed = examined = _payload.End;
                    return Parse(marshaller, compressed);
                }

                if (result.IsCompleted)
                {
                    return buffer.IsEmpty ? null : throw Error(StatusCode.Internal, "the message is cut short");
                }
            }
            finally
            {
                _payload = default;
                pipe.AdvanceTo(consumed, examined);
            }
        }
    }

    private bool TryReadFrame(ReadOnlySequence<byte> buffer, out bool compressed)
    {
        compressed = false;
        if (buffer.Length < HeaderSize)
        {
            return false;
        }

        Span<byte> header = stackalloc byte[HeaderSize];
        buffer.Slice(0, HeaderSize).CopyTo(header);
        compressed = header[0] switch
        {
            0 => false,
            1 => true,
            _ => throw Error(StatusCode.Internal, $"the compressed flag {header[0]} of a message is neither 0 nor 1"),
        };

        // The limit holds before the message is waited for, so that a false length buffers nothing.
        uint length = BinaryPrimitives.ReadUInt32BigEndian(header[1..]);
        if (length > (uint)_maxMessageSize)
        {
            throw Error(StatusCode.ResourceExhausted, $"a message of {length} bytes exceeds the limit of {_maxMessageSize} bytes");
        }

        if (buffer.Length < HeaderSize + length)
        {
            return false;
        }

        _payload = buffer.Slice(HeaderSize, length);
        return true;
    }

    private T Parse<T>(Marshaller<T> marshaller, bool compressed)
    {
        if (compressed)
        {
            _payload = new ReadOnlySequence<byte>(Decompress(_payload));
        }

        try
        {
            return marshaller.ContextualDeserializer(this);
        }
        catch (Exception e) when (e is InvalidProtocolBufferException or IndexOutOfRangeException)
        {
            // Google.Protobuf 3.25 runs over the end of its buffer at a varint that a nested message's length cuts off, and says it so.
            throw new RpcException(new Status(StatusCode.Internal, $"the message is not a valid {typeof(T).Name}: {e.Message}", e));
        }
    }

    private ReadOnlyMemory<byte> Decompress(ReadOnlySequence<byte> packed)
    {
        if (encoding is not GrpcHeaders.Gzip)
        {
            throw Error(
                StatusCode.Internal, $"a message is compressed, but {GrpcHeaders.Encoding} is '{encoding ?? GrpcHeaders.Identity}'");
        }

        // Some writers make nothing at all of an empty message.
        if (packed.IsEmpty)
        {
            return ReadOnlyMemory<byte>.Empty;
        }

        byte[] chunk = ArrayPool<byte>.Shared.Rent(32 * 1024);
        try
        {
            ArrayBufferWriter<byte> plain = new();
            using GZipStream gzip = new(PipeReader.Create(packed).AsStream(), CompressionMode.Decompress);
            for (int read; (read = gzip.Read(chunk)) > 0;)
            {
                if (plain.WrittenCount + (long)read > _maxMessageSize)
                {
                    throw Error(StatusCode.ResourceExhausted, $"a decompressed message exceeds the limit of {_maxMessageSize} bytes");
                }

                plain.Write(chunk.AsSpan(0, read));
            }

            // GZipStream takes an early end for the end; the size in the last four bytes tells.
            Span<byte> size = stackalloc byte[sizeof(uint)];
            packed.Slice(Math.Max(0, packed.Length - size.Length)).CopyTo(size);
            if (BinaryPrimitives.ReadUInt32LittleEndian(size) != (uint)plain.WrittenCount)
            {
                throw Error(StatusCode.Internal, "the message does not decompress: it is cut short");
            }

            return plain.WrittenMemory;
        }
        catch (InvalidDataException e)
        {
            throw new RpcException(new Status(StatusCode.Internal, $"the message does not decompress: {e.Message}", e));
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(chunk);
        }
    }

    private static RpcException Error(StatusCode code, string detail) => new(new Status(code, detail));
}
