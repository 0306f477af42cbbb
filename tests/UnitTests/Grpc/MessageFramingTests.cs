using System.Buffers;
using System.IO.Compression;
using System.IO.Pipelines;
using Google.Protobuf;
using Grpc.Core;
using Grpc.Health.V1;
using Grpc.Wire;
using Xunit;

namespace InferenceServer.UnitTests.Grpc;

/// <summary>Length-prefixed messages: how they are written, and how they are read from whatever arrives.</summary>
public sealed class MessageFramingTests
{
    private static readonly Marshaller<byte[]> s_bytes = Marshallers.Create(b => b, b => b);

    private static readonly Marshaller<HealthCheckRequest> s_protobuf = Marshallers.Create(
        (message, context) =>
        {
            context.SetPayloadLength(message.CalculateSize());
            message.WriteTo(context.GetBufferWriter());
            context.Complete();
        },
        context => HealthCheckRequest.Parser.ParseFrom(context.PayloadAsReadOnlySequence()));

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task What_is_written_is_read_back_in_pieces_of_any_size(bool gzip)
    {
        byte[][] messages = [.. new[] { 0, 1, 4, 5, 6, 127, 128, 129, 4099 }.Select(size => Content(size))];
        byte[] stream = Written(writer => messages.ToList().ForEach(m => writer.Write(s_bytes, m, default)), gzip);
        foreach (int piece in new[] { 1, 2, 5, 7, 64, stream.Length })
        {
            MessageReader reader = ReaderOf(stream, piece, gzip ? "gzip" : null);

            foreach (byte[] message in messages)
            {
                Assert.Equal(message, await reader.ReadAsync(s_bytes, default));
            }

            Assert.Null(await reader.ReadAsync(s_bytes, default));
        }
    }

    [Fact]
    public void A_message_has_a_flag_and_its_length_before_it()
    {
        Assert.Equal([0, 0, 0, 0, 3, 1, 2, 3], Written(writer => writer.Write(s_bytes, [1, 2, 3], default), gzip: false));
        Assert.Equal(
            [0, 0, 0, 0, 3, 10, 1, (byte)'x'],
            Written(writer => writer.Write(s_protobuf, new() { Service = "x" }, default), gzip: false));
    }

    [Fact]
    public void A_serialiser_that_does_not_say_the_length_is_buffered()
    {
        Marshaller<byte[]> unsized = Marshallers.Create(
            (byte[] message, SerializationContext context) =>
            {
                context.GetBufferWriter().Write(message);
                context.Complete();
            },
            context => context.PayloadAsNewBuffer());

        byte[] stream = Written(
            writer =>
            {
                writer.Write(unsized, [1, 2], default);
                writer.Write(unsized, [3], default);
            },
            gzip: false);

        Assert.Equal([0, 0, 0, 0, 2, 1, 2, 0, 0, 0, 0, 1, 3], stream);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(MessageWriter.MinCompressedSize - 1)]
    public void A_small_message_is_not_compressed(int size)
    {
        // GZipStream makes nothing at all of an empty message, which other clients refuse.
        byte[] stream = Written(writer => writer.Write(s_bytes, Content(size), default), gzip: true);

        Assert.Equal([0, 0, 0, 0, (byte)size, .. Content(size)], stream);
    }

    [Fact]
    public void A_message_is_compressed_unless_it_asks_not_to_be()
    {
        byte[] content = new byte[1000];

        Assert.Equal(1, Written(writer => writer.Write(s_bytes, content, default), gzip: true)[0]);
        Assert.Equal(0, Written(writer => writer.Write(s_bytes, content, WriteFlags.NoCompress), gzip: true)[0]);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_message_over_the_send_limit_is_RESOURCE_EXHAUSTED_and_nothing_is_written(bool gzip)
    {
        Pipe pipe = new();
        MessageWriter writer = new(pipe.Writer, maxMessageSize: 9, gzip);

        RpcException failure = Assert.Throws<RpcException>(() => writer.Write(s_bytes, Content(10), default));
        RpcException sized = Assert.Throws<RpcException>(() => writer.Write(s_protobuf, new() { Service = "12345678" }, default));

        Assert.Equal("a message of 10 bytes exceeds the send limit of 9 bytes", failure.Status.Detail);
        Assert.Equal(StatusCode.ResourceExhausted, sized.StatusCode);
        Assert.Equal(0, pipe.Writer.UnflushedBytes);
    }

    [Fact]
    public async Task A_length_over_the_limit_is_refused_before_the_message_is_there()
    {
        RpcException failure = await FailureOf([0, 0xff, 0xff, 0xff, 0xff], encoding: null);

        Assert.Equal(StatusCode.ResourceExhausted, failure.StatusCode);
        Assert.Equal("a message of 4294967295 bytes exceeds the limit of 10000 bytes", failure.Status.Detail);
    }

    [Fact]
    public async Task The_limit_itself_is_allowed()
    {
        byte[] content = Content(10_000);

        Assert.Equal(content, await ReaderOf(Frame(0, content), 1000, null).ReadAsync(s_bytes, default));
    }

    [Fact]
    public async Task A_message_that_grows_over_the_limit_is_RESOURCE_EXHAUSTED()
    {
        byte[] bomb = Frame(1, Gzip(new byte[50_000_000])[..]);

        RpcException failure = await FailureOf(bomb, "gzip", limit: 1_000_000);

        Assert.True(bomb.Length < 100_000);
        Assert.Equal(StatusCode.ResourceExhausted, failure.StatusCode);
        Assert.Equal("a decompressed message exceeds the limit of 1000000 bytes", failure.Status.Detail);
    }

    [Theory]
    [InlineData(new byte[] { 2, 0, 0, 0, 0 }, null, "the compressed flag 2 of a message is neither 0 nor 1")]
    [InlineData(new byte[] { 0 }, null, "the message is cut short")]
    [InlineData(new byte[] { 0, 0, 0, 0 }, null, "the message is cut short")]
    [InlineData(new byte[] { 0, 0, 0, 0, 2, 1 }, null, "the message is cut short")]
    [InlineData(new byte[] { 1, 0, 0, 0, 1, 1 }, null, "a message is compressed, but grpc-encoding is 'identity'")]
    [InlineData(new byte[] { 1, 0, 0, 0, 1, 1 }, "identity", "a message is compressed, but grpc-encoding is 'identity'")]
    public async Task What_is_no_message_is_INTERNAL(byte[] stream, string? encoding, string detail)
    {
        RpcException failure = await FailureOf(stream, encoding);

        Assert.Equal(StatusCode.Internal, failure.StatusCode);
        Assert.Equal(detail, failure.Status.Detail);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Bytes_that_do_not_decompress_are_INTERNAL(bool truncated)
    {
        byte[] packed = Gzip(Content(1000));
        byte[] bad = truncated ? packed[..(packed.Length / 2)] : Content(300);

        RpcException failure = await FailureOf(Frame(1, bad), "gzip");

        Assert.Equal(StatusCode.Internal, failure.StatusCode);
        Assert.StartsWith("the message does not decompress", failure.Status.Detail, StringComparison.Ordinal);
    }

    [Fact]
    public async Task An_empty_message_may_come_compressed_to_nothing()
    {
        byte[] emptyMember = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        foreach (byte[] packed in new[] { [], emptyMember })
        {
            byte[]? message = await ReaderOf(Frame(1, packed), 5, "gzip").ReadAsync(s_bytes, default);

            Assert.Empty(message!);
        }
    }

    [Fact]
    public async Task Bytes_that_are_no_protobuf_are_INTERNAL_and_the_next_message_can_be_read()
    {
        byte[] stream = [.. Frame(0, [0xff, 0xff, 0xff]), .. Frame(0, [10, 1, (byte)'x'])];
        MessageReader reader = ReaderOf(stream, stream.Length, null);

        RpcException failure = await Assert.ThrowsAsync<RpcException>(async () => await reader.ReadAsync(s_protobuf, default));
        HealthCheckRequest? next = await reader.ReadAsync(s_protobuf, default);

        Assert.Equal(StatusCode.Internal, failure.StatusCode);
        Assert.StartsWith("the message is not a valid HealthCheckRequest", failure.Status.Detail, StringComparison.Ordinal);
        Assert.Equal("x", next!.Service);
    }

    private static byte[] Content(int size)
    {
        byte[] content = new byte[size];
        new Random(size).NextBytes(content);
        return content;
    }

    private static byte[] Frame(byte flag, byte[] content) =>
        [flag, (byte)(content.Length >> 24), (byte)(content.Length >> 16), (byte)(content.Length >> 8), (byte)content.Length, .. content];

    private static byte[] Gzip(byte[] content)
    {
        using MemoryStream packed = new();
        using (GZipStream gzip = new(packed, CompressionLevel.Optimal, leaveOpen: true))
        {
            gzip.Write(content);
        }

        return packed.ToArray();
    }

    private static byte[] Written(Action<MessageWriter> write, bool gzip)
    {
        using MemoryStream stream = new();
        PipeWriter pipe = PipeWriter.Create(stream, new StreamPipeWriterOptions(leaveOpen: true));
        write(new MessageWriter(pipe, maxMessageSize: null, gzip));
        pipe.Complete();
        return stream.ToArray();
    }

    private static MessageReader ReaderOf(byte[] stream, int piece, string? encoding, int limit = 10_000)
    {
        ReadOnlySequence<byte> pieces = Segment.Split(stream, piece);
        return new MessageReader(PipeReader.Create(new PieceStream(pieces)), limit, encoding);
    }

    private static async Task<RpcException> FailureOf(byte[] stream, string? encoding, int limit = 10_000)
    {
        MessageReader reader = ReaderOf(stream, stream.Length, encoding, limit);
        return await Assert.ThrowsAsync<RpcException>(async () => await reader.ReadAsync(s_bytes, default));
    }

    /// <summary>A stream whose reads give one segment each.</summary>
    private sealed class PieceStream(ReadOnlySequence<byte> pieces) : MemoryStream
    {
        private ReadOnlySequence<byte> _left = pieces;

        public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
        {
            int count = Math.Min(buffer.Length, _left.First.Length);
            _left.First[..count].CopyTo(buffer);
            _left = _left.Slice(count);
            return ValueTask.FromResult(count);
        }
    }

    private sealed class Segment : ReadOnlySequenceSegment<byte>
    {
        public static ReadOnlySequence<byte> Split(byte[] bytes, int size)
        {
            if (bytes.Length == 0)
            {
                return default;
            }

            Segment first = new() { Memory = bytes.AsMemory(0, Math.Min(size, bytes.Length)) };
            Segment last = first;
            for (int at = last.Memory.Length; at < bytes.Length; at += size)
            {
                Segment next = new() { Memory = bytes.AsMemory(at, Math.Min(size, bytes.Length - at)), RunningIndex = at };
                last.Next = next;
                last = next;
            }

            return new ReadOnlySequence<byte>(first, 0, last, last.Memory.Length);
        }
    }
}
