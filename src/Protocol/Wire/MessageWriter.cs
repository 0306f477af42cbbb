using System.Buffers;
using System.Buffers.Binary;
using System.IO.Compression;
using System.IO.Pipelines;
using Grpc.Core;

namespace Grpc.Wire;

/// <summary>Writes length-prefixed messages into a pipe, each straight from its serialiser where its size is known.</summary>
/// <param name="pipe">Where the messages go; the caller flushes it.</param>
/// <param name="maxMessageSize">The most bytes of a message before compression; null for no limit.</param>
/// <param name="gzip">Whether messages are compressed, unless <see cref="WriteFlags.NoCompress"/> says otherwise.</param>
internal sealed class MessageWriter(PipeWriter pipe, int? maxMessageSize, bool gzip) : SerializationContext
{
    /// <summary>Smaller messages are not compressed: they only grow, and of an empty one GZipStream makes nothing at all.</summary>
    public const int MinCompressedSize = 128;

    private ArrayBufferWriter<byte>? _buffer;
    private bool _compress;
    private bool _direct;

    /// <summary>Adds a message to the pipe.</summary>
    /// <exception cref="RpcException">RESOURCE_EXHAUSTED: the message is over the limit; nothing was written.</exception>
    public void Write<T>(Marshaller<T> marshaller, T message, WriteFlags flags)
    {
        _compress = gzip && !flags.HasFlag(WriteFlags.NoCompress);
        _direct = false;
        _buffer?.ResetWrittenCount();
        marshaller.ContextualSerializer(message, this);
    }

    public override void SetPayloadLength(int payloadLength)
    {
        CheckSize(payloadLength);
        if (!_compress)
        {
            WriteHeader(payloadLength, compressed: false);
            _direct = true;
        }
    }

    public override IBufferWriter<byte> GetBufferWriter() => _direct ? pipe : _buffer ??= new ArrayBufferWriter<byte>();

    public override void Complete()
    {
        if (!_direct)
        {
            WriteWhole(_buffer is null ? [] : _buffer.WrittenSpan);
        }
    }

    public override void Complete(byte[] payload)
    {
        if (_direct)
        {
            pipe.Write(payload);
        }
        else
        {
            WriteWhole(payload);
        }
    }

    private void WriteWhole(ReadOnlySpan<byte> payload)
    {
        CheckSize(payload.Length);
        if (!_compress || payload.Length < MinCompressedSize)
        {
            WriteHeader(payload.Length, compressed: false);
            pipe.Write(payload);
            return;
        }

        using MemoryStream packed = new();
        using (GZipStream stream = new(packed, CompressionLevel.Fastest, leaveOpen: true))
        {
            stream.Write(payload);
        }

        WriteHeader((int)packed.Length, compressed: true);
        pipe.Write(packed.GetBuffer().AsSpan(0, (int)packed.Length));
    }

    private void WriteHeader(int length, bool compressed)
    {
        Span<byte> header = pipe.GetSpan(MessageReader.HeaderSize);
        header[0] = compressed ? (byte)1 : (byte)0;
        BinaryPrimitives.WriteUInt32BigEndian(header[1..], (uint)length);
        pipe.Advance(MessageReader.HeaderSize);
    }

    private void CheckSize(int length)
    {
        if (length > maxMessageSize)
        {
            throw new RpcException(new Status(
                StatusCode.ResourceExhausted, $"a message of {length} bytes exceeds the send limit of {maxMessageSize} bytes"));
        }
    }
}
