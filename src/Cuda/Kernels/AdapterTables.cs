using InferenceServer.Cuda.Devices;
using InferenceServer.Cuda.Interop;
using InferenceServer.Cuda.Memory;
using InferenceServer.Cuda.Steps;
using InferenceServer.Tensors.Steps;

namespace InferenceServer.Cuda.Kernels;

/// <summary>Where the table of a batch lies: a step's batches are on the device already, any other (a probe's) is copied when it is asked for.</summary>
internal sealed unsafe class AdapterTables : IDisposable
{
    private readonly KernelContext _context;
    private readonly LoraTable _table = new();
    private PinnedBuffer? _staging;

    public AdapterTables(KernelContext context) => _context = context;

    /// <summary>Finds or copies a batch's table.</summary>
    /// <param name="batch">The batch, with groups.</param>
    /// <param name="rows">Rows of the operation.</param>
    /// <param name="isOfStep">Whether the table is the step's, so that launches may become a graph's.</param>
    public LoraAddresses Of(LoraBatch batch, int rows, out bool isOfStep)
    {
        isOfStep = _context.Step.TryFind(batch, out LoraAddresses addresses);
        if (isOfStep)
        {
            return addresses;
        }

        _table.Measure(batch, rows, isRounded: false, _context.Step.MakesTiles);
        long byteCount = (long)_table.Length * sizeof(int);
        CudaStream stream = _context.Queue.Stream();
        stream.Synchronize(); // the copy before may still read the staging
        if (_staging is null || _staging.ByteCount < byteCount)
        {
            _staging?.Dispose();
            _staging = new PinnedBuffer(2 * byteCount);
        }

        _table.Fill(new Span<int>(_staging.Pointer, _table.Length), _context.Step.Held);
        ulong target = _context.Scratch.Take("adapters of a batch", byteCount);
        CudaDriver.Check(CudaDriver.CopyToDevice(target, _staging.Pointer, (nuint)byteCount, stream.Pointer), "copy of a batch's adapters");
        return _table.At(target);
    }

    public void Dispose() => _staging?.Dispose();
}
