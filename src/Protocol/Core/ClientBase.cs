namespace Grpc.Core;

/// <summary>The base of every generated client.</summary>
public abstract class ClientBase
{
    protected ClientBase()
        : this(new ClientBaseConfiguration(null))
    {
    }

    protected ClientBase(ChannelBase channel)
        : this(channel.CreateCallInvoker())
    {
    }

    protected ClientBase(CallInvoker callInvoker)
        : this(new ClientBaseConfiguration(callInvoker))
    {
    }

    protected ClientBase(ClientBaseConfiguration configuration) => Configuration = configuration;

    protected CallInvoker CallInvoker =>
        Configuration.CallInvoker ?? throw new NotSupportedException("this client was made without a channel");

    internal ClientBaseConfiguration Configuration { get; }

    protected internal sealed class ClientBaseConfiguration
    {
        internal ClientBaseConfiguration(CallInvoker? callInvoker) => CallInvoker = callInvoker;

        internal CallInvoker? CallInvoker { get; }
    }
}
