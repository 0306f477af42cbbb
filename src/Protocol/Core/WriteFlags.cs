namespace Grpc.Core;

/// <summary>How one message is sent.</summary>
[Flags]
public enum WriteFlags
{
    /// <summary>The message may wait for the next one.</summary>
    BufferHint = 1,

    /// <summary>The message is not compressed, also where the call's messages are.</summary>
    NoCompress = 2,
}
