using System.Buffers;

namespace Grpc.Core;

/// <summary>Where a deserialiser finds one message.</summary>
public abstract class DeserializationContext
{
    public abstract int PayloadLength { get; }

    public abstract byte[] PayloadAsNewBuffer();

    /// <summary>The message without a copy; valid until the deserialiser returns.</summary>
    public abstract ReadOnlySequence<byte> PayloadAsReadOnlySequence();
}
