using InferenceServer.Cpu.KeyValues;
using InferenceServer.Cpu.Memory;
using InferenceServer.Cpu.Simd;
using InferenceServer.Cpu.Steps;
using InferenceServer.Cpu.Threading;
using InferenceServer.Tensors;

namespace InferenceServer.Cpu.Kernels;

/// <summary>
/// Causal attention over the paged cache: <c>y[t, q] = softmax(mask(cap(scale q k^T))) v</c>, with one running softmax per query.
/// </summary>
/// <remarks>
/// Keys are taken in chunks of <see cref="ChunkKeys"/> absolute positions. A chunk gives each query its largest score m, the sum l of
/// 2^(score - m) and the sum of values weighted by the same, with scores in units of ln 2; two chunks are joined by rescaling both to the larger m (Milakov and
/// Gimelshein, "Online normalizer calculation for softmax", 2018). Which keys a chunk holds depends on positions only, and inside it
/// every sum runs in key order, so a row's result is the same whichever rows, blocks, chunks of prefill or threads it is computed with.
/// Some rows of a sequence and the query heads of a kv head share the reading of keys and values. When a step has fewer such items
/// than would keep the threads busy, the chunks of each become work items of their own, and are joined afterwards in order.
/// </remarks>
internal sealed unsafe class PagedAttention<TSimd, TVector> : ParallelJob, IDisposable
    where TSimd : struct, ISimd<TVector>
    where TVector : struct
{
    /// <summary>Keys of a chunk; a multiple of 16, so that lanes of a chunk are lanes of positions.</summary>
    private const int ChunkKeys = 256;
    private const long SerialLimit = 1 << 15;

    /// <summary>Items below which some workers might wait for others.</summary>
    private const int ItemsPerWorker = 4;
    private const int ValueTile = AttentionValues<TSimd, TVector>.MostQueries;
    private const float Ln2 = 0.693147181f;

    private readonly WorkerPool _pool;
    private readonly WorkerScratch _scratch;
    private readonly StepState _step;
    private readonly WorkerScratch _partials = new(1);
    private readonly AttentionItems _items = new();
    private CpuKvCache? _cache;
    private AttentionParameters? _parameters;
    private Rows _q;
    private Rows _y;
    private int _layer;
    private int _groupSize;
    private int _tileRows;
    private int _splitChunks;
    private bool _joining;
    private float* _partialMemory;
    private long _partialFloats;

    public PagedAttention(WorkerPool pool, WorkerScratch scratch, StepState step)
    {
        _pool = pool;
        _scratch = scratch;
        _step = step;
    }

    public void Run(Rows q, CpuKvCache cache, int layer, AttentionParameters parameters, Rows y)
    {
        _q = q;
        _y = y;
        _cache = cache;
        _layer = layer;
        _parameters = parameters;
        _groupSize = parameters.Heads / parameters.KvHeads;
        _tileRows = RowsOfTile(_groupSize);
        _items.Fill(_step.Inputs.Sequences, parameters.KvHeads, _groupSize, ItemsPerWorker * _pool.WorkerCount);

        long work = 0;
        int chunks = 0;
        int mostRows = 0;
        foreach (RowBlock rows in _items.Spans)
        {
            int visible = LastKey(rows, rows.RowCount - 1) - FirstKey(rows, 0) + 1;
            work += (long)visible * rows.RowCount * parameters.Heads * parameters.HeadSize;
            chunks = Math.Max(chunks, (LastKey(rows, rows.RowCount - 1) / ChunkKeys) - (FirstKey(rows, 0) / ChunkKeys) + 1);
            mostRows = Math.Max(mostRows, rows.RowCount);
        }

        int items = _items.Count;
        bool parallel = work >= SerialLimit;
        _splitChunks = parallel && _pool.WorkerCount > 1 && items < ItemsPerWorker * _pool.WorkerCount && chunks > 1 ? chunks : 0;
        if (_splitChunks == 0)
        {
            _pool.Run(this, items, parallel);
        }
        else
        {
            int queries = mostRows * _groupSize;
            _partialFloats = (long)queries * (cache.ValueStride + 2);
            _partialMemory = _partials.Get(0, _partialFloats * items * _splitChunks);
            _joining = false;
            _pool.Run(this, items * _splitChunks, parallel: true);
            _joining = true;
            _pool.Run(this, items, parallel: true);
        }

        _cache = null;
    }

    public void Dispose() => _partials.Dispose();

    public override void Execute(int item, int worker)
    {
        int unit = _splitChunks > 0 && !_joining ? item / _splitChunks : item;
        int head = _items.Head(unit);
        RowBlock rows = _items.Rows(unit);
        int queries = rows.RowCount * _groupSize;
        long floats = AttentionWork.FloatCount(queries, _cache!.Shape.HeadSize, _cache.ValueStride, _cache.KeyStride, ChunkKeys);
        AttentionWork work = new(
            _scratch.Get(worker, floats), queries, _cache.Shape.HeadSize, _cache.ValueStride, _cache.KeyStride, ChunkKeys);

        int firstChunk = FirstKey(rows, 0) / ChunkKeys;
        int lastChunk = LastKey(rows, rows.RowCount - 1) / ChunkKeys;
        if (_splitChunks == 0)
        {
            CopyQueries(rows, head, work);
            ComputeChunk(unit, rows, head, firstChunk, work, work.Maxima, work.Sums, work.Values);
            for (int chunk = firstChunk + 1; chunk <= lastChunk; chunk++)
            {
                ComputeChunk(unit, rows, head, chunk, work, work.ChunkMaxima, work.ChunkSums, work.ChunkValues);
                JoinChunk(work, queries, work.ChunkMaxima, work.ChunkSums, work.ChunkValues, work.ValueStride);
            }

            Finish(rows, head, work);
        }
        else if (!_joining)
        {
            int chunk = firstChunk + (item % _splitChunks);
            if (chunk <= lastChunk)
            {
                CopyQueries(rows, head, work);
                ComputeChunk(unit, rows, head, chunk, work, work.ChunkMaxima, work.ChunkSums, work.ChunkValues);
                SavePartial(item, queries, work);
            }
        }
        else
        {
            Begin(work, queries);
            for (int chunk = firstChunk; chunk <= lastChunk; chunk++)
            {
                float* partial = _partialMemory + (((long)item * _splitChunks) + chunk - firstChunk) * _partialFloats;
                JoinChunk(work, queries, partial, partial + queries, partial + (2 * queries), _cache.ValueStride);
            }

            Finish(rows, head, work);
        }
    }

    private static void Begin(AttentionWork work, int queries)
    {
        new Span<float>(work.Maxima, queries).Fill(float.NegativeInfinity);
        new Span<float>(work.Sums, queries).Clear();
        new Span<float>(work.Values, queries * work.ValueStride).Clear();
    }

    /// <summary>The least rows whose queries fill tiles of sums.</summary>
    private static int RowsOfTile(int groupSize)
    {
        int rows = 1;
        while (rows * groupSize % ValueTile != 0)
        {
            rows *= 2;
        }

        return rows;
    }

    private int FirstKey(RowBlock rows, int row) =>
        _parameters!.Window > 0 ? Math.Max(0, rows.FirstPosition + row - _parameters.Window + 1) : 0;

    private static int LastKey(RowBlock rows, int row) => rows.FirstPosition + row;

    private void CopyQueries(RowBlock rows, int head, AttentionWork work)
    {
        int length = _groupSize * _cache!.Shape.HeadSize;
        for (int row = 0; row < rows.RowCount; row++)
        {
            float* source = _q.At(rows.FirstRow + row) + (head * length);
            new ReadOnlySpan<float>(source, length).CopyTo(new Span<float>(work.Queries + (row * length), length));
        }
    }

    private void ComputeChunk(int unit, RowBlock rows, int head, int chunk, AttentionWork work, float* maxima, float* sums, float* values)
    {
        int start = chunk * ChunkKeys;
        int from = Math.Max(start, FirstKey(rows, 0));
        int to = Math.Min(start + ChunkKeys - 1, LastKey(rows, rows.RowCount - 1));
        float** blocks = stackalloc float*[ChunkKeys + 1 + AttentionValues<TSimd, TVector>.Ahead];
        ListBlocks(unit, rows, head, from, to, blocks);
        ComputeScores(rows, start, from, to, blocks, work);
        for (int row = 0; row < rows.RowCount; row++)
        {
            int first = Math.Max(start, FirstKey(rows, row)) - start;
            int last = Math.Min(start + ChunkKeys - 1, LastKey(rows, row)) - start;
            for (int query = row * _groupSize; query < (row + 1) * _groupSize; query++)
            {
                float* scores = work.Scores + (query * work.ScoreStride) + work.ScorePadding;
                (maxima[query], sums[query]) = first <= last
                    ? ChunkSoftmax<TSimd, TVector>.Apply(scores, first, last, _parameters!.Scale, _parameters.SoftCap)
                    : (float.NegativeInfinity, 0f);
            }
        }

        new Span<float>(values, rows.RowCount * _groupSize * work.ValueStride).Clear();
        for (int row = 0; row < rows.RowCount; row += _tileRows)
        {
            SumValues(rows, row, Math.Min(_tileRows, rows.RowCount - row), start, from, blocks, work, values);
        }
    }

    /// <summary>Values of the blocks with the keys from..to, then what will be read after them.</summary>
    private void ListBlocks(int unit, RowBlock rows, int head, int from, int to, float** blocks)
    {
        CpuKvCache cache = _cache!;
        ReadOnlySpan<int> table = _step.Inputs.BlockTable[rows.FirstBlock..];
        int last = to / cache.Shape.BlockSize;
        int count = 0;
        for (int block = from / cache.Shape.BlockSize; block <= last; block++)
        {
            blocks[count++] = cache.Values(_layer, table[block], head);
        }

        // After the values of a chunk come the keys of the next, after those of the last the keys of this worker's likely next item.
        int after = _splitChunks > 0 ? 0 : (LastKey(rows, rows.RowCount - 1) / cache.Shape.BlockSize) - last;
        ReadOnlySpan<int> next = table[(last + 1)..(last + 1 + after)];
        if (after == 0)
        {
            next = NextItem(unit, ref head);
        }

        for (int i = 0; i < AttentionValues<TSimd, TVector>.Ahead; i++)
        {
            blocks[count + i] = i < next.Length ? cache.Keys(_layer, next[i], head) : blocks[count - 1];
        }
    }

    /// <summary>The blocks that the item after those of the other workers begins with, and its head; nothing while chunks are items.</summary>
    private ReadOnlySpan<int> NextItem(int unit, scoped ref int head)
    {
        int next = unit + _pool.WorkerCount;
        if (_splitChunks > 0 || next >= _items.Count)
        {
            return [];
        }

        head = _items.Head(next);
        RowBlock rows = _items.Rows(next);
        int first = FirstKey(rows, 0) / ChunkKeys * ChunkKeys / _cache!.Shape.BlockSize;
        int last = LastKey(rows, rows.RowCount - 1) / _cache.Shape.BlockSize;
        return _step.Inputs.BlockTable[(rows.FirstBlock + first)..(rows.FirstBlock + last + 1)];
    }

    /// <summary>Scores of all queries and the keys from..to of the chunk that begins at start.</summary>
    private void ComputeScores(RowBlock rows, int start, int from, int to, float** blocks, AttentionWork work)
    {
        CpuKvCache cache = _cache!;
        int blockSize = cache.Shape.BlockSize;
        int firstBlock = from / blockSize;
        int perBlock = cache.KeyStride / TSimd.Count;
        int units = ((to / blockSize) - firstBlock + 1) * perBlock;

        // Two vectors of keys at once; lanes beyond a block's end are overwritten by the next block's or never read.
        float* scores = work.Scores + work.ScorePadding + ((firstBlock * blockSize) - start);
        float* unread = work.Scores + work.ScoreStride - TSimd.Count;
        for (int unit = 0; unit < units; unit += 2)
        {
            bool paired = unit + 1 < units;
            int lastUnit = paired ? unit + 1 : unit;

            // Rows that see none of these keys are left out.
            int firstRow = Math.Max(FirstOf(unit) - rows.FirstPosition, 0);
            int lastRow = _parameters!.Window > 0 ? Math.Min(FirstOf(lastUnit) + TSimd.Count - 1 + _parameters.Window - 1 - rows.FirstPosition, rows.RowCount - 1) : rows.RowCount - 1;
            int firstQuery = firstRow * _groupSize;
            AttentionScores<TSimd, TVector>.Multiply(
                (lastRow - firstRow + 1) * _groupSize,
                work.Queries + (firstQuery * cache.Shape.HeadSize),
                cache.Shape.HeadSize,
                Keys(unit),
                Keys(lastUnit),
                cache.KeyStride,
                unit + 2 < units ? Keys(unit + 2) : blocks[0],
                unit + 3 < units ? Keys(unit + 3) : blocks[1],
                Scores(unit) + (firstQuery * work.ScoreStride),
                (paired ? Scores(unit + 1) : unread) + (firstQuery * work.ScoreStride),
                work.ScoreStride);
        }

        int FirstOf(int unit) => ((firstBlock + (unit / perBlock)) * blockSize) + (unit % perBlock * TSimd.Count);

        float* Keys(int unit) => blocks[unit / perBlock] - cache.KeyElements + (unit % perBlock * TSimd.Count);

        float* Scores(int unit) => scores + (unit / perBlock * blockSize) + (unit % perBlock * TSimd.Count);
    }

    /// <summary>
    /// Adds the chunk's values, weighted, to the sums of some rows in key order: first the keys that not all of them see, then the common ones, then the rest.
    /// </summary>
    private void SumValues(RowBlock rows, int firstRow, int count, int start, int listed, float** blocks, AttentionWork work, float* sums)
    {
        int end = firstRow + count;
        int commonFirst = Math.Max(start, FirstKey(rows, end - 1));
        int commonLast = Math.Min(start + ChunkKeys - 1, LastKey(rows, firstRow));
        bool common = count > 1 && commonFirst <= commonLast;
        for (int row = firstRow; row < end; row++)
        {
            int first = Math.Max(start, FirstKey(rows, row));
            int last = Math.Min(start + ChunkKeys - 1, LastKey(rows, row));
            SumValues(row * _groupSize, _groupSize, start, listed, first, common ? commonFirst - 1 : last, blocks, work, sums);
        }

        if (common)
        {
            SumValues(firstRow * _groupSize, count * _groupSize, start, listed, commonFirst, commonLast, blocks, work, sums);
            for (int row = firstRow; row < end; row++)
            {
                int last = Math.Min(start + ChunkKeys - 1, LastKey(rows, row));
                SumValues(row * _groupSize, _groupSize, start, listed, commonLast + 1, last, blocks, work, sums);
            }
        }
    }

    /// <summary>The keys from..to for some queries; <paramref name="listed"/> is a key of the first listed block.</summary>
    private void SumValues(int firstQuery, int queries, int start, int listed, int from, int to, float** blocks, AttentionWork work, float* sums)
    {
        if (from > to)
        {
            return;
        }

        int blockSize = _cache!.Shape.BlockSize;
        AttentionValues<TSimd, TVector>.Add(
            queries,
            work.Scores + (firstQuery * work.ScoreStride) + work.ScorePadding + (from - start),
            work.ScoreStride,
            blocks + ((from / blockSize) - (listed / blockSize)),
            blockSize,
            from % blockSize,
            to - from + 1,
            _cache.ValueStride,
            sums + (firstQuery * work.ValueStride),
            work.ValueStride);
    }

    private void SavePartial(int item, int queries, AttentionWork work)
    {
        float* partial = _partialMemory + (item * _partialFloats);
        for (int query = 0; query < queries; query++)
        {
            partial[query] = work.ChunkMaxima[query];
            partial[queries + query] = work.ChunkSums[query];
            float* target = partial + (2 * queries) + (query * _cache!.ValueStride);
            new ReadOnlySpan<float>(work.ChunkValues + (query * work.ValueStride), _cache.ValueStride)
                .CopyTo(new Span<float>(target, _cache.ValueStride));
        }
    }

    private void JoinChunk(AttentionWork work, int queries, float* maxima, float* sums, float* values, int valueStride)
    {
        for (int query = 0; query < queries; query++)
        {
            if (sums[query] == 0)
            {
                // None of the chunk's keys is visible to this row.
                continue;
            }

            float maximum = MathF.Max(work.Maxima[query], maxima[query]);
            float before = MathF.Exp((work.Maxima[query] - maximum) * Ln2);
            float now = MathF.Exp((maxima[query] - maximum) * Ln2);
            work.Maxima[query] = maximum;
            work.Sums[query] = (work.Sums[query] * before) + (sums[query] * now);
            TVector beforeLanes = TSimd.Broadcast(before);
            TVector nowLanes = TSimd.Broadcast(now);
            float* target = work.Values + (query * work.ValueStride);
            float* source = values + (query * valueStride);
            for (int d = 0; d < _cache!.ValueStride; d += TSimd.Count)
            {
                TVector rescaled = TSimd.Multiply(TSimd.Load(target + d), beforeLanes);
                TSimd.Store(TSimd.MultiplyAdd(TSimd.Load(source + d), nowLanes, rescaled), target + d);
            }
        }
    }

    // Zero is added so that a zero has no sign: the first of several chunks is joined to zeros where chunks are items, and to nothing where they are not.
    private void Finish(RowBlock rows, int head, AttentionWork work)
    {
        int headSize = _cache!.Shape.HeadSize;
        for (int row = 0; row < rows.RowCount; row++)
        {
            for (int i = 0; i < _groupSize; i++)
            {
                int query = (row * _groupSize) + i;
                float factor = 1 / work.Sums[query];
                float* source = work.Values + (query * work.ValueStride);
                float* target = _y.At(rows.FirstRow + row) + (((head * _groupSize) + i) * headSize);
                int d = 0;
                for (; d <= headSize - TSimd.Count; d += TSimd.Count)
                {
                    TSimd.Store(TSimd.Add(TSimd.Multiply(TSimd.Load(source + d), TSimd.Broadcast(factor)), TSimd.Zero), target + d);
                }

                for (; d < headSize; d++)
                {
                    target[d] = (source[d] * factor) + 0f;
                }
            }
        }
    }
}
