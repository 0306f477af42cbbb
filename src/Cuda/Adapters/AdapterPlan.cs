using InferenceServer.Cuda.Memory;
using InferenceServer.Cuda.Weights;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Adapters;

namespace InferenceServer.Cuda.Adapters;

/// <summary>What an adapter needs of the page pool, and what it is filled with once it has it.</summary>
internal sealed class AdapterPlan
{
    private readonly AdapterWeights _weights;
    private readonly WeightFormat _format;
    private readonly List<PagedRows> _rows = [];
    private readonly Part?[] _parts;
    private readonly long _recordBytes;

    public AdapterPlan(AdapterWeights weights, WeightFormat format)
    {
        _weights = weights;
        _format = format;
        _parts = new Part?[weights.Deltas.Count];
        _recordBytes = RecordWriter.SizeOf<PartRecord>(_parts.Length);
        for (int module = 0; module < _parts.Length; module++)
        {
            if (weights.Deltas[module] is LowRankDelta delta)
            {
                _parts[module] = Add(delta);
                _recordBytes += TableBytes(delta);
            }
        }
    }

    /// <summary>Pages of each matrix and vector.</summary>
    public IReadOnlyList<PagedRows> Rows => _rows;

    /// <summary>Bytes of all matrices and vectors.</summary>
    public long ByteCount => _rows.Sum(rows => rows.PageBytes * rows.Count);

    /// <summary>The index of the request for the records; those before it are those of <see cref="Rows"/>.</summary>
    public int RecordRequest => _rows.Count;

    /// <summary>What to ask the pool for.</summary>
    public PageRequest[] Requests =>
        [.. _rows.Select(rows => new PageRequest(rows.PageBytes, rows.Count)), new PageRequest(PagePool.RoundUpCoarsely(_recordBytes), 1)];

    /// <summary>The records of an adapter in these pages.</summary>
    /// <param name="pages">What the pool gave for <see cref="Requests"/>.</param>
    /// <param name="parts">By module, with their replacements.</param>
    public RecordWriter WriteRecords(PageSet pages, CudaPart?[] parts)
    {
        RecordWriter writer = new(_recordBytes, pages.RunsOf(RecordRequest)[0].Address);
        Span<PartRecord> records = writer.Reserve<PartRecord>(_parts.Length, out _);
        for (int module = 0; module < _parts.Length; module++)
        {
            if (_parts[module] is Part part)
            {
                records[module] = Write(part, _weights.Deltas[module]!, parts[module]!, pages, writer);
            }
        }

        return writer;
    }

    /// <summary>The norm weight and the output bias of a module, as buffers inside the pages.</summary>
    public (ulong NormWeight, ulong OutputBias) VectorsOf(int module, PageSet pages) =>
        (AddressOf(_parts[module]!.NormWeight, pages), AddressOf(_parts[module]!.OutputBias, pages));

    private static long TableBytes(LowRankDelta delta)
    {
        int blocks = delta.Gate?.BlockRanks.Length ?? 0;
        int tokens = delta.ReplacedRows?.Tokens.Length ?? 0;
        return RecordWriter.SizeOf<ulong>(delta.Rank + blocks) + RecordWriter.SizeOf<ulong>(delta.Rank)
            + RecordWriter.SizeOf<int>(blocks == 0 ? 0 : 2 + (2 * blocks)) + RecordWriter.SizeOf<int>(tokens) + RecordWriter.SizeOf<ulong>(tokens);
    }

    private static ulong AddressOf(int request, PageSet pages) => request < 0 ? 0 : pages.RunsOf(request)[0].Address;

    private static int PutAddresses(int request, PageSet pages, Span<ulong> target)
    {
        int count = 0;
        foreach (PageRun run in request < 0 ? [] : pages.RunsOf(request))
        {
            for (int i = 0; i < run.Count; i++)
            {
                target[count++] = run.Address + ((ulong)i * (ulong)run.Chunk.PageBytes);
            }
        }

        return count;
    }

    private static int[] GateWords(RankGate gate) =>
    [
        BitConverter.SingleToInt32Bits(gate.Temperature),
        gate.TopK,
        .. gate.BlockRanks,
        .. (gate.Bias ?? new float[gate.BlockRanks.Length]).Select(BitConverter.SingleToInt32Bits),
    ];

    private static PartRecord Write(Part part, LowRankDelta delta, CudaPart known, PageSet pages, RecordWriter writer)
    {
        Span<ulong> a = writer.Reserve<ulong>(known.Rank + known.Blocks, out ulong aAddress);
        int rank = PutAddresses(part.A, pages, a);
        PutAddresses(part.Gate, pages, a[rank..]);
        PutAddresses(part.B, pages, writer.Reserve<ulong>(known.Rank, out ulong bAddress));
        ulong gate = delta.Gate is null ? 0 : writer.Put<int>(GateWords(delta.Gate));
        int[] tokens = delta.ReplacedRows?.Tokens ?? [];
        ulong tokenAddress = writer.Put<int>(tokens);
        CudaWeightMatrix? replacement = known.Replacement is null ? null : CudaWeightMatrix.Of(known.Replacement);
        PutAddresses(part.ReplacedRows, pages, writer.Reserve<ulong>(tokens.Length, out ulong rowAddress));
        return new PartRecord
        {
            A = aAddress,
            B = bAddress,
            InputScale = AddressOf(part.InputScale, pages),
            OutputScale = AddressOf(part.OutputScale, pages),
            OutputBias = AddressOf(part.OutputBias, pages),
            Gate = gate,
            ReplacedTokens = tokenAddress,
            ReplacedRows = rowAddress,
            Replacement = replacement?.Address ?? 0,
            Rank = known.Rank,
            Blocks = known.Blocks,
            IsBFloat16 = part.IsBFloat16 ? 1 : 0,
            IsReplaced = replacement is null ? 0 : 1,
            ReplacedCount = tokens.Length,
            IsReplacementBFloat16 = replacement is { Format: WeightFormat.BF16 } ? 1 : 0,
            ReplacementStride = replacement?.Layout.Stride ?? 0,
        };
    }

    private Part Add(LowRankDelta delta) => new()
    {
        A = delta.A is null ? -1 : Add(PagedRows.Rows(delta.A, _format)),
        Gate = delta.Gate is null ? -1 : Add(PagedRows.Rows(delta.Gate.Weight, WeightFormat.F32)),
        B = delta.B is null ? -1 : Add(PagedRows.Columns(delta.B, _format)),
        InputScale = AddVector(delta.InputScale),
        OutputScale = AddVector(delta.OutputScale),
        OutputBias = AddVector(delta.OutputBias),

        // A replacement of one row is a norm's weight: no linear layer or embedding has a single row.
        NormWeight = delta.Replacement is { Rows: 1 } weight ? AddVector(weight.Values) : -1,
        ReplacedRows = delta.ReplacedRows is null ? -1 : Add(PagedRows.Rows(delta.ReplacedRows.Values, WeightFormat.F32)),
        IsBFloat16 = _format == WeightFormat.BF16,
    };

    private int AddVector(float[]? values) => values is null ? -1 : Add(PagedRows.Vector(values));

    private int Add(PagedRows rows)
    {
        _rows.Add(rows);
        return _rows.Count - 1;
    }

    /// <summary>Indices of a module's requests, -1 for what it has not.</summary>
    private sealed class Part
    {
        public required int A { get; init; }

        public required int Gate { get; init; }

        public required int B { get; init; }

        public required int InputScale { get; init; }

        public required int OutputScale { get; init; }

        public required int OutputBias { get; init; }

        public required int NormWeight { get; init; }

        public required int ReplacedRows { get; init; }

        public required bool IsBFloat16 { get; init; }
    }
}
