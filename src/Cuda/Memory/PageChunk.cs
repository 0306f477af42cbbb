using System.Numerics;

namespace InferenceServer.Cuda.Memory;

/// <summary>A piece of device memory cut into pages of one size. Its pool's lock guards it.</summary>
internal sealed class PageChunk
{
    private readonly ulong[] _taken;

    /// <param name="memory">The memory.</param>
    /// <param name="pageBytes">Size of a page.</param>
    public PageChunk(CudaBuffer memory, long pageBytes)
    {
        Memory = memory;
        PageBytes = pageBytes;
        Capacity = checked((int)(memory.ByteCount / pageBytes));
        FreeCount = Capacity;
        _taken = new ulong[(Capacity + 63) / 64];
    }

    public CudaBuffer Memory { get; }

    public long PageBytes { get; }

    /// <summary>Pages, taken or not.</summary>
    public int Capacity { get; }

    public int FreeCount { get; private set; }

    /// <summary>Takes the first free pages, as many as lie side by side and at most <paramref name="wanted"/>.</summary>
    /// <returns>At least one page; ask only when some are free.</returns>
    public PageRun Take(int wanted)
    {
        int first = Next(0, taken: false);
        int end = Math.Min(Next(first, taken: true), first + wanted);
        Mark(first, end, taken: true);
        FreeCount -= end - first;
        return new PageRun(this, first, end - first);
    }

    public void Return(PageRun run)
    {
        Mark(run.First, run.First + run.Count, taken: false);
        FreeCount += run.Count;
    }

    /// <summary>The first page from <paramref name="page"/> on that is taken or is not; <see cref="Capacity"/> or more when there is none.</summary>
    private int Next(int page, bool taken)
    {
        for (int word = page / 64; word < _taken.Length; word++)
        {
            ulong hits = taken ? _taken[word] : ~_taken[word];
            hits &= word == page / 64 ? ulong.MaxValue << (page % 64) : ulong.MaxValue;
            if (hits != 0)
            {
                return Math.Min(Capacity, (word * 64) + BitOperations.TrailingZeroCount(hits));
            }
        }

        return Capacity;
    }

    private void Mark(int first, int end, bool taken)
    {
        for (int page = first; page < end; page++)
        {
            ulong bit = 1UL << (page % 64);
            _taken[page / 64] = taken ? _taken[page / 64] | bit : _taken[page / 64] & ~bit;
        }
    }
}
