using InferenceServer.Cuda.Compilation;
using InferenceServer.Cuda.Launching;
using InferenceServer.Cuda.Memory;
using InferenceServer.Cuda.Steps;
using InferenceServer.Tensors;

namespace InferenceServer.Cuda.Kernels;

/// <summary>Launches Rope.cu: at once for neighbouring columns (queries and keys), or leaves it to the storing of the keys.</summary>
internal sealed class Rope : PostponedLaunch
{
    private const int Threads = 256;

    private readonly KernelContext _context;
    private readonly KernelFunction _kernel;
    private TensorView _x;
    private ulong _address;
    private ulong _cosines;
    private ulong _sines;
    private int _headSize;
    private int _half;

    public Rope(KernelContext context)
    {
        _context = context;
        _kernel = context.Library["Rope.cu"].Function("rope", Threads);
    }

    /// <summary>Address of the first row of what rotates, of a rotation that waits.</summary>
    public ulong X => _address;

    /// <summary>Elements from one row of it to the next.</summary>
    public int XStride => _x.RowStride;

    /// <summary>Address of the cosines.</summary>
    public ulong Cosines => _cosines;

    /// <summary>Address of the sines.</summary>
    public ulong Sines => _sines;

    /// <summary>Heads of a row that rotate.</summary>
    public int Heads => _x.Columns / _headSize;

    /// <summary>Pairs of a head that rotate.</summary>
    public int Half => _half;

    public void Run(RopeTable table, int headSize, TensorView x)
    {
        ulong cosines = CudaBuffer.Of(table.Cos).Address;
        if (cosines == _cosines && headSize == _headSize && Follows(x) && _context.Queue.TryTake(this))
        {
            _x = new TensorView(_x.Buffer, _x.Offset, _x.Rows, _x.Columns + x.Columns, _x.RowStride);
        }
        else
        {
            // Before what is remembered of a rotation that waits is written over.
            _context.Queue.LaunchPostponed();
            _x = x;
            _address = CudaBuffer.AddressOf(x);
            _cosines = cosines;
            _sines = CudaBuffer.Of(table.Sin).Address;
            _headSize = headSize;
            _half = table.RotarySize / 2;
        }

        _context.Queue.Postpone(this);
    }

    /// <summary>Takes a rotation that waits and whose last columns are these keys, in heads of that size.</summary>
    public bool TryTake(TensorView keys, int headSize) =>
        keys.Buffer == _x.Buffer && keys.RowStride == _x.RowStride && keys.Rows == _x.Rows && headSize == _headSize
        && keys.Offset >= _x.Offset && keys.Offset + keys.Columns == _x.Offset + _x.Columns && _context.Queue.TryTake(this);

    public override void Launch()
    {
        RowCount rows = _context.Step.RowsOf(_x.Rows);
        _context.Queue.Launch(
            _kernel,
            new Grid(Grid.Cover((long)Heads * _half, Threads), rows.Rows),
            _address,
            _x.RowStride,
            _cosines,
            _sines,
            _context.Step.Address(StepTable.Positions),
            Heads,
            _headSize,
            _half,
            rows.Pointer,
            rows.Rows);
    }

    private bool Follows(TensorView x) =>
        x.Buffer == _x.Buffer && x.RowStride == _x.RowStride && x.Rows == _x.Rows && x.Offset == _x.Offset + _x.Columns;
}
