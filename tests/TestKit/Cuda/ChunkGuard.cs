using InferenceServer.Tensors.Memory;

namespace InferenceServer.TestKit.Cuda;

/// <summary>
/// Makes every chunk of a shared memory that nobody has illegal to touch, and full of NaN for who takes it next: what uses a chunk without having it,
/// or uses it late, fails.
/// </summary>
public sealed class ChunkGuard : IDisposable
{
    private readonly ChunkBudget _chunks;
    private readonly ulong _address;
    private readonly bool[] _isForbidden;

    /// <param name="chunks">Who has which chunk; nobody has any but those of KV blocks so far.</param>
    /// <param name="address">Where the memory begins; chunks are whole pages of 4096 bytes.</param>
    /// <param name="isHeld">Whether somebody has a chunk already.</param>
    public ChunkGuard(ChunkBudget chunks, ulong address, Func<int, bool> isHeld)
    {
        _chunks = chunks;
        _address = address;
        _isForbidden = new bool[chunks.ChunkCount];
        for (int chunk = 0; chunk < chunks.ChunkCount; chunk++)
        {
            if (!isHeld(chunk))
            {
                Change(chunk, ChunkOwner.None);
            }
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
                StandIn.Allow(Place(chunk), _chunks.ChunkBytes);
            }
        }
    }

    private void Change(int chunk, ChunkOwner owner)
    {
        _isForbidden[chunk] = owner == ChunkOwner.None;
        if (owner == ChunkOwner.None)
        {
            StandIn.Forbid(Place(chunk), _chunks.ChunkBytes);
            return;
        }

        StandIn.Allow(Place(chunk), _chunks.ChunkBytes);
        Moves = owner == ChunkOwner.Adapters ? (Moves.Adapters + 1, Moves.KeyValues) : (Moves.Adapters, Moves.KeyValues + 1);
    }

    private ulong Place(int chunk) => _address + (ulong)(chunk * _chunks.ChunkBytes);
}
