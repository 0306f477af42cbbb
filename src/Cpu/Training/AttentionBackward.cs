using System.Numerics.Tensors;
using InferenceServer.Cpu.Kernels;
using InferenceServer.Cpu.Memory;
using InferenceServer.Cpu.Simd;
using InferenceServer.Cpu.Threading;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Steps;

namespace InferenceServer.Cpu.Training;

/// <summary>
/// Through <c>s = cap(scale q k^T), p = softmax(mask(s)), y = p v</c>: with <c>dp = dy v^T</c>,
/// <c>ds = p (dp - sum p dp) cap'</c>, then <c>dq += scale ds k</c>, <c>dk += scale ds^T q</c>, <c>dv += p^T dy</c>.
/// </summary>
/// <remarks>
/// An item is one key/value head of one sequence with all query heads that share it, so dk and dv are summed by one thread: query heads
/// in order, then blocks of <see cref="RowsPerBlock"/> rows. Scores of a block are computed again from q and k (no row statistics are
/// kept), by the multiplication kernel; keys before the window or after the row have p = ds = 0.
/// </remarks>
internal sealed unsafe class AttentionBackward<TSimd, TVector> : ParallelJob
    where TSimd : struct, ISimd<TVector>
    where TVector : struct
{
    private const int RowsPerBlock = 16;

    /// <summary>A multiple of two vectors of every width: scratch rows are padded to it.</summary>
    private const int Padding = 32;

    private readonly WorkerPool _pool;
    private readonly WorkerScratch _scratch;
    private StepSequence[] _sequences = [];
    private AttentionParameters? _parameters;
    private Rows _q;
    private Rows _k;
    private Rows _v;
    private Rows _dy;
    private Rows _dq;
    private Rows _dk;
    private Rows _dv;

    public AttentionBackward(WorkerPool pool, WorkerScratch scratch)
    {
        _pool = pool;
        _scratch = scratch;
    }

    public void Run(
        Rows q, Rows k, Rows v, ReadOnlySpan<StepSequence> sequences, AttentionParameters parameters, Rows dy, Rows dq, Rows dk, Rows dv)
    {
        if (_sequences.Length < sequences.Length)
        {
            _sequences = new StepSequence[sequences.Length];
        }

        sequences.CopyTo(_sequences);
        _parameters = parameters;
        _q = q;
        _k = k;
        _v = v;
        _dy = dy;
        _dq = dq;
        _dk = dk;
        _dv = dv;
        _pool.Run(this, sequences.Length * parameters.KvHeads, parallel: true);
    }

    public override void Execute(int item, int worker)
    {
        AttentionParameters parameters = _parameters!;
        StepSequence sequence = _sequences[item / parameters.KvHeads];
        int kvHead = item % parameters.KvHeads;
        int size = parameters.HeadSize;
        int length = sequence.RowCount;
        Block block = new(_scratch, worker, length, size);
        LoadKeys(sequence, kvHead * size, size, block);
        int shared = parameters.Heads / parameters.KvHeads;
        for (int head = kvHead * shared; head < (kvHead + 1) * shared; head++)
        {
            for (int first = 0; first < length; first += RowsPerBlock)
            {
                Backward(parameters, sequence, head * size, first, Math.Min(RowsPerBlock, length - first), block);
            }
        }

        for (int row = 0; row < length; row++)
        {
            AddTo(block.KeyGradient + (row * block.Size), _dk.At(sequence.FirstRow + row) + (kvHead * size), size);
            AddTo(block.ValueGradient + (row * block.Size), _dv.At(sequence.FirstRow + row) + (kvHead * size), size);
        }
    }

    private void LoadKeys(StepSequence sequence, int column, int size, in Block block)
    {
        for (int row = 0; row < sequence.RowCount; row++)
        {
            float* k = _k.At(sequence.FirstRow + row) + column;
            float* v = _v.At(sequence.FirstRow + row) + column;
            for (int d = 0; d < size; d++)
            {
                block.KeysTransposed[(d * block.Length) + row] = k[d];
                block.ValuesTransposed[(d * block.Length) + row] = v[d];
                block.Keys[(row * block.Size) + d] = k[d];
            }
        }
    }

    private void Backward(AttentionParameters parameters, StepSequence sequence, int column, int first, int rows, in Block block)
    {
        int size = parameters.HeadSize;
        for (int row = 0; row < rows; row++)
        {
            CopyTo(_q.At(sequence.FirstRow + first + row) + column, block.Queries + (row * block.Size), size);
            CopyTo(_dy.At(sequence.FirstRow + first + row) + column, block.OutputGradients + (row * block.Size), size);
        }

        // Keys that any row of the block sees, the start rounded down to whole vectors.
        int from = parameters.Window > 0 ? Math.Max(0, first - parameters.Window + 1) / Padding * Padding : 0;
        int to = first + rows;
        int padded = from + RoundUp(to - from);
        Multiply(
            rows,
            block.Queries,
            block.Size,
            block.KeysTransposed + from,
            block.Length,
            size,
            block.Scores + from,
            block.Length,
            padded - from,
            PanelMode.Overwrite);
        Multiply(
            rows,
            block.OutputGradients,
            block.Size,
            block.ValuesTransposed + from,
            block.Length,
            size,
            block.ScoreGradients + from,
            block.Length,
            padded - from,
            PanelMode.Overwrite);
        for (int row = 0; row < rows; row++)
        {
            int position = first + row;
            int visible = parameters.Window > 0 ? Math.Max(from, position - parameters.Window + 1) : from;
            float* scores = block.Scores + (row * block.Length);
            float* gradients = block.ScoreGradients + (row * block.Length);
            SoftmaxBackward(parameters, scores + visible, gradients + visible, block.Slopes, position + 1 - visible);
            Clear(scores, gradients, from, visible);
            Clear(scores, gradients, position + 1, padded);
            for (int key = from; key < to; key++)
            {
                block.ScoresTransposed[((key - from) * RowsPerBlock) + row] = scores[key];
                block.ScoreGradientsTransposed[((key - from) * RowsPerBlock) + row] = gradients[key];
            }
        }

        int keys = to - from;
        Multiply(
            rows,
            block.ScoreGradients + from,
            block.Length,
            block.Keys + (from * block.Size),
            block.Size,
            keys,
            block.QueryGradients,
            block.Size,
            block.Size,
            PanelMode.Overwrite);
        for (int row = 0; row < rows; row++)
        {
            AddTo(block.QueryGradients + (row * block.Size), _dq.At(sequence.FirstRow + first + row) + column, size);
        }

        Multiply(
            keys,
            block.ScoreGradientsTransposed,
            RowsPerBlock,
            block.Queries,
            block.Size,
            rows,
            block.KeyGradient + (from * block.Size),
            block.Size,
            block.Size,
            PanelMode.Resume);
        Multiply(
            keys,
            block.ScoresTransposed,
            RowsPerBlock,
            block.OutputGradients,
            block.Size,
            rows,
            block.ValueGradient + (from * block.Size),
            block.Size,
            block.Size,
            PanelMode.Resume);
    }

    /// <summary>Raw scores become p, and dp becomes the gradient of the raw scores, the scale included.</summary>
    private static void SoftmaxBackward(AttentionParameters parameters, float* scores, float* gradients, float* slopes, int count)
    {
        Span<float> p = new(scores, count);
        Span<float> d = new(gradients, count);
        Span<float> slope = new(slopes, count);
        TensorPrimitives.Multiply(p, parameters.Scale, p);
        if (parameters.SoftCap > 0)
        {
            TensorPrimitives.Divide(p, parameters.SoftCap, p);
            TensorPrimitives.Tanh(p, p);
            TensorPrimitives.Multiply(p, p, slope);
            TensorPrimitives.Subtract(1f, slope, slope);
            TensorPrimitives.Multiply(p, parameters.SoftCap, p);
        }

        TensorPrimitives.Subtract(p, TensorPrimitives.Max<float>(p), p);
        TensorPrimitives.Exp(p, p);
        TensorPrimitives.Multiply(p, 1 / TensorPrimitives.Sum<float>(p), p);
        TensorPrimitives.Subtract(d, TensorPrimitives.Dot<float>(p, d), d);
        TensorPrimitives.Multiply(d, p, d);
        TensorPrimitives.Multiply(d, parameters.Scale, d);
        if (parameters.SoftCap > 0)
        {
            TensorPrimitives.Multiply(d, slope, d);
        }
    }

    private static void Multiply(
        int rows, float* x, nint xStride, float* b, nint bStride, int depth, float* c, nint cStride, int columns, PanelMode mode)
    {
        for (int column = 0; column < columns; column += 2 * TSimd.Count)
        {
            byte* b0 = (byte*)(b + column);
            PanelKernel<TSimd, TVector, F32Element>.Multiply(
                rows,
                x,
                xStride,
                b0,
                b0 + (TSimd.Count * sizeof(float)),
                bStride * sizeof(float),
                depth,
                c + column,
                c + column + TSimd.Count,
                cStride,
                mode);
        }
    }

    private static void Clear(float* scores, float* gradients, int from, int to)
    {
        new Span<float>(scores + from, to - from).Clear();
        new Span<float>(gradients + from, to - from).Clear();
    }

    private static void CopyTo(float* source, float* target, int count) =>
        new ReadOnlySpan<float>(source, count).CopyTo(new Span<float>(target, count));

    private static void AddTo(float* source, float* target, int count)
    {
        Span<float> sum = new(target, count);
        TensorPrimitives.Add(sum, new ReadOnlySpan<float>(source, count), sum);
    }

    private static int RoundUp(int count) => (count + Padding - 1) / Padding * Padding;

    /// <summary>One worker's scratch, cut up: zeroed, rows padded so that whole vectors may be read and written.</summary>
    private readonly struct Block
    {
        public Block(WorkerScratch scratch, int worker, int length, int size)
        {
            Length = RoundUp(length);
            Size = RoundUp(size);
            int byKey = Length * Size;
            int byRow = RowsPerBlock * Length;
            int rowBlock = RowsPerBlock * Size;
            long count = (5L * byKey) + (4L * byRow) + (3L * rowBlock) + Length;
            float* at = scratch.Get(worker, count);
            new Span<float>(at, checked((int)count)).Clear();
            KeysTransposed = at;
            ValuesTransposed = KeysTransposed + byKey;
            Keys = ValuesTransposed + byKey;
            KeyGradient = Keys + byKey;
            ValueGradient = KeyGradient + byKey;
            Scores = ValueGradient + byKey;
            ScoreGradients = Scores + byRow;
            ScoresTransposed = ScoreGradients + byRow;
            ScoreGradientsTransposed = ScoresTransposed + byRow;
            Queries = ScoreGradientsTransposed + byRow;
            OutputGradients = Queries + rowBlock;
            QueryGradients = OutputGradients + rowBlock;
            Slopes = QueryGradients + rowBlock;
        }

        /// <summary>Keys, padded.</summary>
        public int Length { get; }

        /// <summary>Head size, padded.</summary>
        public int Size { get; }

        public float* KeysTransposed { get; }

        public float* ValuesTransposed { get; }

        public float* Keys { get; }

        public float* KeyGradient { get; }

        public float* ValueGradient { get; }

        public float* Scores { get; }

        public float* ScoreGradients { get; }

        public float* ScoresTransposed { get; }

        public float* ScoreGradientsTransposed { get; }

        public float* Queries { get; }

        public float* OutputGradients { get; }

        public float* QueryGradients { get; }

        public float* Slopes { get; }
    }
}
