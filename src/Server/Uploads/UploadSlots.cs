using InferenceServer.AdapterStore;

namespace InferenceServer.Server.Uploads;

/// <summary>Bounds how many uploads there are at once, and with them the disk that unfinished ones can take.</summary>
public sealed class UploadSlots(int limit)
{
    private int _taken;

    /// <summary>Takes a slot until the result is disposed.</summary>
    /// <exception cref="CapacityExceededException">All are taken.</exception>
    public IDisposable Take()
    {
        if (Interlocked.Increment(ref _taken) > limit)
        {
            Interlocked.Decrement(ref _taken);
            throw new CapacityExceededException(
                $"{limit} uploads are running, and the limit is {limit}; try again later", limit + 1, limit);
        }

        return new Slot(this);
    }

    private sealed class Slot(UploadSlots slots) : IDisposable
    {
        private int _returned;

        public void Dispose()
        {
            if (Interlocked.Exchange(ref _returned, 1) == 0)
            {
                Interlocked.Decrement(ref slots._taken);
            }
        }
    }
}
