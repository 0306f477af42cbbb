namespace InferenceServer.Cuda.Memory;

/// <summary>Pages that were taken together and go back together.</summary>
internal sealed class PageSet : IDisposable
{
    private readonly PagePool _pool;
    private readonly PageRun[] _runs;
    private readonly int[] _ends;
    private int _isReturned;

    /// <param name="pool">Where they go back.</param>
    /// <param name="runs">The runs of all requests, in their order.</param>
    /// <param name="ends">By request, one past its last run.</param>
    public PageSet(PagePool pool, PageRun[] runs, int[] ends)
    {
        _pool = pool;
        _runs = runs;
        _ends = ends;
    }

    /// <summary>The pages of a request.</summary>
    public ReadOnlySpan<PageRun> RunsOf(int request) => _runs.AsSpan((request == 0 ? 0 : _ends[request - 1]).._ends[request]);

    /// <summary>Gives the pages back; kernels that read them must be done.</summary>
    public void Dispose()
    {
        if (Interlocked.Exchange(ref _isReturned, 1) == 0)
        {
            _pool.Return(_runs);
        }
    }
}
