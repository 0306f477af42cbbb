using InferenceServer.Cuda.Interop;
using InferenceServer.Cuda.Kernels;

namespace InferenceServer.Cuda.Products;

/// <summary>
/// Products of row-major matrices by cuBLASLt. Not for steps that may become graphs: they hold kernel launches only. The same shape, strides and
/// alignment give the same algorithm and so the same bits; another number of rows may give another.
/// </summary>
internal sealed class LtProducts : IDisposable
{
    // What NVIDIA recommends for Hopper; docs.nvidia.com/cuda/cublas, "cublasSetWorkspace".
    private const long WorkspaceBytes = 32 << 20;

    // Prefills have any number of rows, and each has its own plan.
    private const int MaxPlans = 1024;

    private readonly KernelContext _context;
    private readonly Dictionary<Key, Entry> _plans = [];
    private readonly nint _handle;
    private long _clock;

    public LtProducts(KernelContext context)
    {
        _context = context;
        CublasLtLibrary.Check(CublasLtLibrary.Create(out _handle), "cublasLtCreate");
    }

    /// <summary><c>c = factor op(a) op(b)</c>, or added to c.</summary>
    /// <param name="factor">Multiplies the product.</param>
    /// <param name="a"><c>[M, K]</c>, or <c>[K, M]</c> transposed.</param>
    /// <param name="b"><c>[K, N]</c>, or <c>[N, K]</c> transposed; of a's type.</param>
    /// <param name="c">f32, <c>[M, N]</c>.</param>
    /// <param name="add">Whether to keep what c holds.</param>
    public void Run(float factor, LtMatrix a, LtMatrix b, LtMatrix c, bool add)
    {
        if (c.Rows == 0 || c.Columns == 0)
        {
            return;
        }

        nint stream = _context.Queue.Stream().Pointer;
        if ((a.IsTransposed ? a.Rows : a.Columns) == 0)
        {
            if (!add)
            {
                Clear(c, stream);
            }

            return;
        }

        ulong workspace = _context.Scratch.Take("cuBLASLt's workspace", WorkspaceBytes);
        PlanFor(a, b, c).Run(_handle, factor, a, b, c, add, workspace, WorkspaceBytes, stream);
    }

    public void Dispose()
    {
        foreach (Entry entry in _plans.Values)
        {
            entry.Plan.Dispose();
        }

        _plans.Clear();
        _ = CublasLtLibrary.Destroy(_handle);
    }

    private static void Clear(LtMatrix c, nint stream)
    {
        for (int row = 0; row < c.Rows; row++)
        {
            ulong address = c.Address + ((ulong)row * (ulong)c.Stride * sizeof(float));
            CudaDriver.Check(CudaDriver.Fill(address, 0, (nuint)c.Columns * sizeof(float), stream), "cuMemsetD8Async");
        }
    }

    private LtPlan PlanFor(LtMatrix a, LtMatrix b, LtMatrix c)
    {
        // A plan is for addresses of an alignment, not for these.
        Key key = new(a with { Address = a.Alignment }, b with { Address = b.Alignment }, c with { Address = c.Alignment });
        if (!_plans.TryGetValue(key, out Entry? entry))
        {
            if (_plans.Count == MaxPlans)
            {
                (Key oldest, Entry unused) = _plans.MinBy(pair => pair.Value.LastUse);
                unused.Plan.Dispose();
                _plans.Remove(oldest);
            }

            entry = new Entry(new LtPlan(_handle, a, b, c, WorkspaceBytes));
            _plans.Add(key, entry);
        }

        entry.LastUse = ++_clock;
        return entry.Plan;
    }

    private readonly record struct Key(LtMatrix A, LtMatrix B, LtMatrix C);

    private sealed class Entry(LtPlan plan)
    {
        public LtPlan Plan => plan;

        public long LastUse { get; set; }
    }
}
