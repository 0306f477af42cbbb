namespace Grpc.AspNetCore.Server;

/// <summary>Gives each call its service instance: the registered one, or one made and disposed for the call.</summary>
internal sealed class ServiceActivator<TService>
    where TService : class
{
    private readonly ObjectFactory<TService> _create = ActivatorUtilities.CreateFactory<TService>([]);

    public async Task UseAsync(HttpServerCall call, Func<TService, HttpServerCall, Task> use)
    {
        IServiceProvider services = call.HttpContext.RequestServices;
        if (services.GetService<TService>() is { } registered)
        {
            await use(registered, call);
            return;
        }

        TService created = _create(services, []);
        try
        {
            await use(created, call);
        }
        finally
        {
            switch (created)
            {
                case IAsyncDisposable disposable:
                    await disposable.DisposeAsync();
                    break;
                case IDisposable disposable:
                    disposable.Dispose();
                    break;
            }
        }
    }
}
