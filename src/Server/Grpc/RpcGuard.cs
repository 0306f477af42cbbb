using Grpc.Core;
using InferenceServer.Server.Hosting;

namespace InferenceServer.Server.Grpc;

/// <summary>Around every method of our services: what goes wrong leaves as a status, and what is our fault is logged.</summary>
public sealed class RpcGuard(ILogger<RpcGuard> log)
{
    /// <summary>Runs a method's body with the call's token.</summary>
    public async Task<T> RunAsync<T>(ServerCallContext context, Func<CancellationToken, Task<T>> method)
    {
        ArgumentNullException.ThrowIfNull(context);
        ArgumentNullException.ThrowIfNull(method);
        CancellationToken token = context.CancellationToken;
        try
        {
            return await method(token);
        }
        catch (Exception error) when (error is OperationCanceledException or IOException && token.IsCancellationRequested)
        {
            // The runtime knows which it was: client gone, deadline, or shutdown.
            throw;
        }
        catch (Exception error)
        {
            if (RpcErrors.IsOurs(error))
            {
                ServerLog.MethodFailed(log, context.Method, error);
            }

            throw RpcErrors.ToStatus(error);
        }
    }

    /// <inheritdoc cref="RunAsync{T}"/>
    public async Task RunAsync(ServerCallContext context, Func<CancellationToken, Task> method)
    {
        await RunAsync(context, async token =>
        {
            await method(token);
            return true;
        });
    }
}
