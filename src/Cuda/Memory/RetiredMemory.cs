using InferenceServer.Cuda.Interop;

namespace InferenceServer.Cuda.Memory;

/// <summary>
/// Memory whose owner is done with it, while launches that name it may still be gathered: freed when the backend has nothing under way. Any thread
/// retires; the thread of the operations frees.
/// </summary>
internal sealed class RetiredMemory
{
    private readonly Lock _gate = new();
    private readonly List<ulong> _addresses = []; // under _gate

    public void Add(ulong address)
    {
        lock (_gate)
        {
            _addresses.Add(address);
        }
    }

    /// <summary>Frees what was retired so far; everything launched must be done.</summary>
    public void Free()
    {
        lock (_gate)
        {
            foreach (ulong address in _addresses)
            {
                _ = CudaDriver.Free(address);
            }

            _addresses.Clear();
        }
    }
}
