using System.Globalization;
using InferenceServer.Cuda.Devices;
using InferenceServer.Cuda.Interop;
using InferenceServer.Cuda.Kernels;
using InferenceServer.Cuda.Launching;
using InferenceServer.Cuda.Memory;
using InferenceServer.Cuda.Steps;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Sampling;

namespace InferenceServer.Cuda.Sampling;

/// <summary>
/// Draws tokens on the device: settings are among the step's tables, the kernels a part of the step, tokens come down by one copy. Weights are summed as integers (sampling.cuh), so
/// that a draw is that of exact arithmetic unless the random number is within V * 2^-40 of a token's border.
/// </summary>
internal sealed unsafe class TokenSampler : IDisposable
{
    // Of the kernels, as sampling.cuh has them.
    private const int SliceLength = 4096;
    private const int SliceBytes = 32;
    private const int Bins = 1024;
    private const int MaxListed = 8192;
    private const int DrawnBytes = 16;
    private const int MaxVocabularySize = 1 << 20;

    private readonly KernelContext _context;
    private readonly SamplingTable _table;
    private readonly SampleRules _rules;
    private readonly SampleFilter _filter;
    private readonly SampleDraw _draw;
    private PinnedBuffer? _drawn;

    public TokenSampler(KernelContext context)
    {
        _context = context;
        _table = new SamplingTable(context.Device);
        _rules = new SampleRules(context);
        _filter = new SampleFilter(context);
        _draw = new SampleDraw(context);
    }

    public void Run(TensorView logits, SamplingBatch batch, Span<SampledToken> tokens)
    {
        if (logits.Columns is < 1 or > MaxVocabularySize)
        {
            throw new ArgumentException(
                string.Create(CultureInfo.InvariantCulture, $"Sample: a vocabulary of {logits.Columns} is not in [1, {MaxVocabularySize}]"));
        }

        if (logits.Rows == 0)
        {
            _context.Queue.Stream().Synchronize();
            return;
        }

        SamplingKind kind = SamplingTable.KindOf(batch, logits.Columns);
        RowCount rows = _context.Step.RowsOf(logits.Rows);
        SamplingMemory memory = Take(kind, rows.Rows, logits.Columns);
        if (!_context.Step.TryTakeSampling(batch, out ulong table))
        {
            _table.Write(batch, _context.Queue.StreamAhead);
            table = _table.Address;
        }

        Launch(kind, logits, memory with { Table = table }, rows);
        Download(memory.Drawn, batch, tokens);
    }

    public void Dispose()
    {
        _table.Dispose();
        _drawn?.Dispose();
    }

    private void Launch(SamplingKind kind, TensorView logits, in SamplingMemory memory, RowCount rows)
    {
        _rules.Run(logits, memory, rows);
        if (kind == SamplingKind.Filter)
        {
            _filter.Run(logits.Columns, memory, rows);
        }

        if (kind != SamplingKind.Best)
        {
            _draw.Sum(logits.Columns, memory, rows);
        }

        _draw.Run(logits, memory, rows);
    }

    private SamplingMemory Take(SamplingKind kind, int rows, int vocabularySize)
    {
        int slices = Grid.Cover(vocabularySize, SliceLength);
        bool isDrawn = kind != SamplingKind.Best;
        bool isFiltered = kind == SamplingKind.Filter;
        return new SamplingMemory
        {
            Scaled = isDrawn ? _context.Scratch.Take("scaled logits", (long)rows * vocabularySize * sizeof(float)) : 0,
            ScaledStride = vocabularySize,
            Slices = _context.Scratch.Take("sums of slices", (long)rows * slices * SliceBytes),
            SliceCount = slices,
            BinSums = isFiltered ? _context.Scratch.Take("sums of bins", (long)rows * Bins * sizeof(ulong)) : 0,
            BinCounts = isFiltered ? _context.Scratch.Take("counts of bins", (long)rows * Bins * sizeof(uint)) : 0,
            Listed = isFiltered ? _context.Scratch.Take("gathered tokens", (long)rows * MaxListed * sizeof(ulong)) : 0,
            Drawn = _context.Scratch.Take("drawn tokens", (long)rows * DrawnBytes),
        };
    }

    private void Download(ulong drawn, SamplingBatch batch, Span<SampledToken> tokens)
    {
        long bytes = (long)tokens.Length * DrawnBytes;
        if (_drawn is null || _drawn.ByteCount < bytes)
        {
            _drawn?.Dispose();
            _drawn = null;
            _drawn = new PinnedBuffer(Math.Max(4096, 2 * bytes));
        }

        CudaStream stream = _context.Queue.Stream();
        CudaDriver.Check(CudaDriver.CopyToHost(_drawn.Pointer, drawn, (nuint)bytes, stream.Pointer), "copy of the drawn tokens");
        stream.Synchronize();
        ReadOnlySpan<int> words = new(_drawn.Pointer, 4 * tokens.Length);
        for (int i = 0; i < tokens.Length; i++)
        {
            if (batch.Rows[i].IsDrawn)
            {
                ReadOnlySpan<int> row = words.Slice(4 * i, 4);
                tokens[i] = new SampledToken(row[0], (SampleStatus)row[1], BitConverter.Int32BitsToSingle(row[2]));
            }
        }
    }
}
