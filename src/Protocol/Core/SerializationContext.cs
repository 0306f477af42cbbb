using System.Buffers;

namespace Grpc.Core;

/// <summary>Where a serialiser puts one message.</summary>
public abstract class SerializationContext
{
    /// <summary>The message, whole.</summary>
    public abstract void Complete(byte[] payload);

    /// <summary>Says the message's size before it is written, so that it need not be buffered.</summary>
    public abstract void SetPayloadLength(int payloadLength);

    public abstract IBufferWriter<byte> GetBufferWriter();

    /// <summary>Ends the message written to <see cref="GetBufferWriter"/>.</summary>
    public abstract void Complete();
}
