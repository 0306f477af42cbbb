namespace Grpc.Core;

/// <summary>The way to a server.</summary>
public abstract class ChannelBase(string target)
{
    /// <summary>Host and port.</summary>
    public string Target { get; } = target;

    public abstract CallInvoker CreateCallInvoker();
}
