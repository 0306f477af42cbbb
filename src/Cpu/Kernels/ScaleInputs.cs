using InferenceServer.Cpu.Adapters;
using InferenceServer.Cpu.Memory;
using InferenceServer.Cpu.Simd;
using InferenceServer.Cpu.Steps;
using InferenceServer.Cpu.Threading;
using InferenceServer.Tensors.Steps;

namespace InferenceServer.Cpu.Kernels;

/// <summary><c>y[t] = (1 + sum w_i (InputScale_i - 1)) * x[t]</c> for the rows of each group; other rows are copied. y may be x.</summary>
internal sealed unsafe class ScaleInputs<TSimd, TVector> : ParallelJob
    where TSimd : struct, ISimd<TVector>
    where TVector : struct
{
    private const long SerialLimit = 1 << 15;

    private readonly WorkerPool _pool;
    private readonly WorkerScratch _scratch;
    private readonly GroupRows _pieces = new();
    private LoraBatch? _batch;
    private int _module;
    private Rows _x;
    private Rows _y;
    private int _columns;

    public ScaleInputs(WorkerPool pool, WorkerScratch scratch)
    {
        _pool = pool;
        _scratch = scratch;
    }

    public void Run(LoraBatch batch, int module, Rows x, Rows y, int rows, int columns)
    {
        if (rows > 0 && x.At(0) != y.At(0))
        {
            for (int row = 0; row < rows; row++)
            {
                new ReadOnlySpan<float>(x.At(row), columns).CopyTo(new Span<float>(y.At(row), columns));
            }
        }

        _batch = batch;
        _module = module;
        _x = x;
        _y = y;
        _columns = columns;
        _pieces.Fill(batch);
        _pool.Run(this, _pieces.Count, (long)rows * columns >= SerialLimit);
        _batch = null;
    }

    public override void Execute(int item, int worker)
    {
        GroupPiece piece = _pieces[item];
        ReadOnlySpan<LoraEntry> entries = _batch!.EntriesOf(_batch.Groups[piece.Group]);
        float* factors = _scratch.Get(worker, LowRankLayout.RoundUp(_columns));
        ScaledRows<TSimd, TVector>.Apply(entries, _module, input: true, _x, _y, piece.FirstRow, piece.RowCount, 0, _columns, factors);
    }
}
