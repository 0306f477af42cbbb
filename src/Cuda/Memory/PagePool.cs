using InferenceServer.Cuda.Devices;
using InferenceServer.Tensors;

namespace InferenceServer.Cuda.Memory;

/// <summary>
/// Device memory in pages, for what comes and goes while steps run: one page is one row of a matrix, so that matrices of any rank fill the
/// holes of any others. Pages of one size share chunks; a chunk without pages serves the next size that wants one, or goes back to where it
/// came from: memory of the pool's own, or one that adapters share with KV blocks. Any thread.
/// </summary>
internal sealed class PagePool : IDisposable
{
    /// <summary>Bytes of a chunk unless told otherwise.</summary>
    public const long DefaultChunkBytes = 8 << 20;

    private const long Alignment = 128; // a cache line; kernels read 16 bytes at once
    private const int FineSteps = 8;

    private readonly IChunkSource _source;
    private readonly Lock _gate = new();
    private readonly Dictionary<long, List<PageChunk>> _chunks = []; // by size of page, under _gate
    private bool _disposed; // under _gate

    /// <param name="device">The device.</param>
    /// <param name="limitBytes">Most bytes of all chunks; 0 for what the device has.</param>
    /// <param name="chunkBytes">Bytes of a chunk; larger pages get a chunk of their own size.</param>
    public PagePool(CudaDevice device, long limitBytes, long chunkBytes = DefaultChunkBytes)
        : this(new OwnChunks(device, limitBytes, chunkBytes))
    {
    }

    /// <param name="source">Where chunks are from; it ends with the pool.</param>
    public PagePool(IChunkSource source) => _source = source;

    /// <summary>Bytes of all chunks, spare ones included.</summary>
    public long HeldBytes => _source.HeldBytes;

    /// <summary>Bytes of all pages taken.</summary>
    public long UsedBytes { get; private set; }

    /// <summary>Bytes of a page for so many.</summary>
    public static long RoundUp(long byteCount) => Math.Max(1, (byteCount + Alignment - 1) / Alignment) * Alignment;

    /// <summary>The same for blocks of arbitrary length: at most an eighth more, so that few sizes come up and holes are used again.</summary>
    public static long RoundUpCoarsely(long byteCount)
    {
        long step = RoundUp((long)System.Numerics.BitOperations.RoundUpToPowerOf2((ulong)Math.Max(byteCount, 1)) / (2 * FineSteps));
        return (byteCount + step - 1) / step * step;
    }

    /// <summary>Takes pages for all requests or for none.</summary>
    /// <param name="owner">For the error.</param>
    /// <param name="requests">What is wanted.</param>
    /// <exception cref="DeviceMemoryException">They do not fit; nothing is lost.</exception>
    public PageSet Take(string owner, ReadOnlySpan<PageRequest> requests)
    {
        List<PageRun> runs = [];
        int[] ends = new int[requests.Length];
        lock (_gate)
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            try
            {
                for (int i = 0; i < requests.Length; i++)
                {
                    Take(requests[i], runs);
                    ends[i] = runs.Count;
                }
            }
            catch (DeviceMemoryException error)
            {
                ReturnAll([.. runs]);
                long wanted = 0;
                foreach (PageRequest request in requests)
                {
                    wanted += request.PageBytes * request.Count;
                }

                throw new DeviceMemoryException($"{wanted} bytes of '{owner}' do not fit beside {UsedBytes} bytes of adapters: {error.Message}", error.IsShared);
            }
        }

        return new PageSet(this, [.. runs], ends);
    }

    /// <summary>Gives pages back.</summary>
    public void Return(ReadOnlySpan<PageRun> runs)
    {
        lock (_gate)
        {
            if (!_disposed)
            {
                ReturnAll(runs);
            }
        }
    }

    /// <summary>Frees chunks without pages; waits for the device's work.</summary>
    public void Trim()
    {
        lock (_gate)
        {
            _source.Trim();
        }
    }

    public void Dispose()
    {
        lock (_gate)
        {
            _disposed = true;
            _source.Trim();
            foreach (PageChunk chunk in _chunks.Values.SelectMany(chunks => chunks))
            {
                chunk.Memory.Dispose();
            }

            _chunks.Clear();
        }
    }

    private void Take(PageRequest request, List<PageRun> runs)
    {
        if (!_chunks.TryGetValue(request.PageBytes, out List<PageChunk>? chunks))
        {
            chunks = [];
            _chunks[request.PageBytes] = chunks;
        }

        // The oldest chunks first: the newest empty out and become spare.
        int left = request.Count;
        for (int i = 0; left > 0; i++)
        {
            if (i == chunks.Count)
            {
                chunks.Add(new PageChunk(_source.Take(request.PageBytes), request.PageBytes));
            }

            while (left > 0 && chunks[i].FreeCount > 0)
            {
                PageRun run = chunks[i].Take(left);
                runs.Add(run);
                left -= run.Count;
                UsedBytes += run.Count * request.PageBytes;
            }
        }
    }

    private void ReturnAll(ReadOnlySpan<PageRun> runs)
    {
        foreach (PageRun run in runs)
        {
            PageChunk chunk = run.Chunk;
            chunk.Return(run);
            UsedBytes -= run.Count * chunk.PageBytes;
            if (chunk.FreeCount == chunk.Capacity)
            {
                _chunks[chunk.PageBytes].Remove(chunk);
                _source.Return(chunk.Memory);
            }
        }
    }
}
