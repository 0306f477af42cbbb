using InferenceServer.Cuda.Compilation;
using InferenceServer.Cuda.Launching;
using InferenceServer.Cuda.Memory;
using InferenceServer.Cuda.Steps;
using InferenceServer.Tensors;

namespace InferenceServer.Cuda.Kernels;

/// <summary>Launches the addition of ElementOperators.cu, or leaves it to the norm that follows.</summary>
internal sealed class Add : PostponedLaunch
{
    private const int Threads = 256;

    private readonly KernelContext _context;
    private readonly KernelFunction _kernel;
    private TensorView _y;
    private ulong _yAddress;

    public Add(KernelContext context)
    {
        _context = context;
        _kernel = context.Library["ElementOperators.cu"].Function("add", Threads);
    }

    /// <summary>Address of what is added, of an addition that waits: its owner may give the memory back meanwhile.</summary>
    public ulong X { get; private set; }

    /// <summary>Elements from one row of it to the next.</summary>
    public int XStride { get; private set; }

    public void Run(TensorView x, TensorView y)
    {
        // Before what is remembered of an addition that waits is written over.
        _context.Queue.LaunchPostponed();
        X = CudaBuffer.AddressOf(x);
        XStride = x.RowStride;
        _y = y;
        _yAddress = CudaBuffer.AddressOf(y);
        _context.Queue.Postpone(this);
    }

    /// <summary>Takes an addition to a view that waits for the next operation.</summary>
    public bool TryTake(TensorView y) => IsSame(y, _y) && _context.Queue.TryTake(this);

    public override void Launch()
    {
        RowCount rows = _context.Step.RowsOf(_y.Rows);
        _context.Queue.Launch(
            _kernel,
            new Grid(Grid.Cover(_y.Columns, Threads), rows.Rows),
            X,
            XStride,
            _yAddress,
            _y.RowStride,
            _y.Columns,
            rows.Pointer,
            rows.Rows);
    }

    private static bool IsSame(TensorView left, TensorView right) =>
        left.Buffer == right.Buffer && left.Offset == right.Offset && left.Rows == right.Rows && left.Columns == right.Columns
        && left.RowStride == right.RowStride;
}
