namespace Grpc.Core;

/// <summary>How the messages of a call are sent from here on.</summary>
public class WriteOptions(WriteFlags flags = default)
{
    public static readonly WriteOptions Default = new();

    public WriteFlags Flags { get; } = flags;
}
