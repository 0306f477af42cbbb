using InferenceServer.AdapterStore;
using InferenceServer.AdapterStore.Cache;
using InferenceServer.AdapterStore.Catalog;

namespace InferenceServer.Server.Hosting;

/// <summary>Adapters that are kept on the device until they are unpinned or unloaded: noted in the catalog, so that a restart brings them back.</summary>
public sealed class AdapterPins(AdapterCatalog catalog, AdapterCache cache, ILogger<AdapterPins> log)
{
    /// <summary>Brings an adapter to the device and keeps it there.</summary>
    /// <exception cref="CapacityExceededException">There is no room for it; nothing is noted.</exception>
    /// <exception cref="AdapterStorageException">The disk fails; it is not pinned.</exception>
    public async Task PinAsync(AdapterId id, CancellationToken cancellation)
    {
        await cache.PinAsync(id, cancellation);
        try
        {
            catalog.SetPinned(id, true);
        }
        catch
        {
            cache.Unpin(id);
            throw;
        }
    }

    /// <summary>Lets an adapter be evicted again.</summary>
    /// <exception cref="AdapterStorageException">The disk fails; it stays pinned.</exception>
    public void Unpin(AdapterId id)
    {
        catalog.SetPinned(id, false);
        cache.Unpin(id);
    }

    /// <summary>Brings the adapters that were pinned before the server stopped. One that cannot come is reported and stays noted.</summary>
    public async Task RestoreAsync(CancellationToken cancellation)
    {
        foreach (AdapterId id in catalog.Pinned())
        {
            try
            {
                await cache.PinAsync(id, cancellation);

                // Somebody may have let it go while it came.
                if (!catalog.IsPinned(id))
                {
                    cache.Unpin(id);
                }
            }
            catch (Exception error) when (error is not OperationCanceledException and not ObjectDisposedException)
            {
                ServerLog.PinNotRestored(log, id.ToString(), error.Message);
            }
        }
    }
}
