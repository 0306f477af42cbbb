using InferenceServer.Tensors.Memory;

namespace InferenceServer.TestKit.Cuda;

/// <summary>
/// Makes every chunk of a shared memory that nobody has illegal to touch, and full of NaN for who takes it next: what uses a chunk without having it,
/// or uses it late, fails. On a device only the changes of hands are counted.
/// </summary>
public sealed class ChunkGuard : IDisposable
{
    private readonly ChunkBudget _chunks;
    private readonly ulong _address;
    private readonly bool[] _isForbidden;

    /// <param name="chunks">Who has which chunk; nobody has any yet.</param>
    /// <param name="address">Where the memory begins; chunks are whole pages of 4096 bytes.</param>
    public ChunkGuard(ChunkBudget chunks, ulong address)
    {
        _chunks = chunks;
        _address = address;
        _isForbidden = new bool[chunks.ChunkCount];
        for (int chunk = 0; chunk < chunks.ChunkCount; chunk++)
        {
            Change(chunk, ChunkOwner.None);
        }

        chunks.OwnerChanged = Change;
    }

    /// <summary>How often a chunk went to adapters, and to KV blocks.</summary>
    public (int Adapters, int KeyValues) Moves { get; private set; }

    public void Dispose()
    {
        _chunks.OwnerChanged = null;
        for (int chunk = 0; chunk < _isForbidden.Length; chunk++)
        {
            if (_isForbidden[chunk])
            {
                Forbid(chunk, isForbidden: false);
            }
        }
    }

    private void Change(int chunk, ChunkOwner owner)
    {
        if (!CudaHardware.IsAsked)
        {
            Forbid(chunk, owner == ChunkOwner.None);
        }

        Moves = (Moves.Adapters + (owner == ChunkOwner.Adapters ? 1 : 0), Moves.KeyValues + (owner == ChunkOwner.KeyValues ? 1 : 0));
    }

    private void Forbid(int chunk, bool isForbidden)
    {
        _isForbidden[chunk] = isForbidden;
        if (isForbidden)
        {
            StandIn.Forbid(Place(chunk), _chunks.ChunkBytes);
        }
        else
        {
            StandIn.Allow(Place(chunk), _chunks.ChunkBytes);
        }
    }

    private ulong Place(int chunk) => _address + (ulong)(chunk * _chunks.ChunkBytes);
}
