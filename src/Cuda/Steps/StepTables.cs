using System.Runtime.InteropServices;
using InferenceServer.Cuda.Adapters;
using InferenceServer.Cuda.Devices;
using InferenceServer.Cuda.Interop;
using InferenceServer.Cuda.Memory;
using InferenceServer.Cuda.Sampling;
using InferenceServer.Tensors.Sampling;
using InferenceServer.Tensors.Steps;

namespace InferenceServer.Cuda.Steps;

/// <summary>
/// Everything that differs from step to step, in one block of device memory that is written by one copy. Sections start at offsets that depend
/// on rounded sizes only: steps of one bucket find their tables at the same addresses, and so their launches are equal.
/// </summary>
internal sealed unsafe class StepTables : IDisposable
{
    /// <summary>
    /// A sequence with fewer rows is decoded row by row: so few rows leave a tile of queries half empty and, where many keys precede them, most
    /// of the device idle.
    /// </summary>
    public const int MinPrefilledRows = 16;

    private const int SectionAlignment = 4; // 16 bytes: a kernel may read four integers at once

    private static readonly LoraBatch s_none = new();

    private static readonly int s_tableCount = Enum.GetValues<StepTable>().Length;

    private readonly CudaDevice _device;
    private readonly CudaEvent[] _copied = [new(), new()];
    private readonly PinnedBuffer?[] _staging = new PinnedBuffer?[2];
    private readonly int[] _offsets = new int[s_tableCount];
    private readonly LoraTable[] _lora = [new(), new(), new(), new()];
    private readonly List<CudaBuffer> _outgrown = [];
    private CudaBuffer? _tables;
    private int _current;
    private int _length;
    private StepInputs? _inputs;
    private bool _hasFreshSampling;

    /// <param name="device">The device.</param>
    /// <param name="makesTiles">Whether rows of large adapter groups go into tiles (<see cref="LoraTable"/>).</param>
    public StepTables(CudaDevice device, bool makesTiles)
    {
        _device = device;
        MakesTiles = makesTiles;
    }

    /// <summary>Whether rows of large adapter groups go into tiles.</summary>
    public bool MakesTiles { get; }

    /// <exception cref="InvalidOperationException">No step has begun.</exception>
    public StepInputs Inputs => _inputs ?? throw new InvalidOperationException("no step has begun");

    /// <summary>Whether every sequence has one row and there are few enough for a graph.</summary>
    public bool IsGraphStep { get; private set; }

    /// <summary>Rows of the bucket: T itself in a step that is no graph's.</summary>
    public int RowBucket { get; private set; }

    /// <summary>Sequences with <see cref="MinPrefilledRows"/> rows and more.</summary>
    public int PrefilledCount { get; private set; }

    /// <summary>Rows of all other sequences.</summary>
    public int DecodedRowCount { get; private set; }

    /// <summary>Largest number of cached tokens of a sequence, this step's included.</summary>
    public int MaxContext { get; private set; }

    /// <summary>Largest position, -1 without rows.</summary>
    public int MaxPosition => MaxContext - 1;

    /// <summary>Largest and smallest token id; (-1, 0) without rows.</summary>
    public (int Max, int Min) TokenRange { get; private set; }

    /// <summary>Address of a table.</summary>
    public ulong Address(StepTable table) => _tables!.Address + ((ulong)_offsets[(int)table] * sizeof(int));

    /// <summary>The count that a kernel over these rows takes: the step's own where they are its rows or its sampled rows.</summary>
    public RowCount RowsOf(int rows)
    {
        if (IsGraphStep && rows == Inputs.TokenCount)
        {
            return new RowCount(Address(StepTable.Counts), RowBucket);
        }

        return IsGraphStep && rows == Inputs.SampledRows.Length
            ? new RowCount(Address(StepTable.Counts) + sizeof(int), RowBucket)
            : new RowCount(0, rows);
    }

    /// <summary>Adapters that launches under way may name: their memory stays even when their owners are done with them.</summary>
    public List<CudaAdapter> Held { get; } = [];

    /// <summary>Where the table of one of the step's adapter batches is; false for a batch that is not the step's.</summary>
    public bool TryFind(LoraBatch batch, out LoraAddresses addresses)
    {
        for (int i = 0; i < _lora.Length; i++)
        {
            if (_lora[i].IsOf(batch))
            {
                addresses = _lora[i].At(Address(StepTable.Lora + i));
                return true;
            }
        }

        addresses = default;
        return false;
    }

    /// <summary>
    /// Where the sampling table of the step's own batch is; false for another batch, and for one that was asked for before: drawing writes into its table.
    /// </summary>
    public bool TryTakeSampling(SamplingBatch batch, out ulong address)
    {
        bool isFresh = _hasFreshSampling && ReferenceEquals(batch, Inputs.Sampling);
        address = isFresh ? Address(StepTable.Sampling) : 0;
        _hasFreshSampling &= !isFresh;
        return isFresh;
    }

    /// <summary>Fills the tables and copies them.</summary>
    /// <param name="inputs">The step.</param>
    /// <param name="maxGraphRows">Most rows of a graph; 0 for no graphs.</param>
    /// <param name="stream">Where the copy is put.</param>
    public void Begin(StepInputs inputs, int maxGraphRows, CudaStream stream)
    {
        _inputs = inputs;
        Measure(inputs);
        IsGraphStep = inputs.TokenCount > 0 && inputs.TokenCount <= maxGraphRows && inputs.Sequences.Length == inputs.TokenCount;
        RowBucket = IsGraphStep ? Math.Min(Bucket(inputs.TokenCount), maxGraphRows) : inputs.TokenCount;
        Layout(inputs);
        _current ^= 1;
        Span<int> staging = Staging();
        Fill(inputs, staging);
        if (_tables is null || _tables.ByteCount < (long)_length * sizeof(int))
        {
            if (_tables is not null)
            {
                // The steps before may still read it.
                _outgrown.Add(_tables);
            }

            _tables = new CudaBuffer(_device, 2L * _length * sizeof(int), "step tables");
        }

        CudaDriver.Check(
            CudaDriver.CopyToDevice(_tables.Address, _staging[_current]!.Pointer, (nuint)_length * sizeof(int), stream.Pointer),
            "copy of the step's tables");
        _copied[_current].Record(stream);
    }

    /// <summary>Lets go of adapters and frees what was outgrown; call it when the stream has done all its work.</summary>
    public void FreeOutgrown()
    {
        Held.ForEach(adapter => adapter.LetGo());
        Held.Clear();
        _outgrown.ForEach(block => block.Dispose());
        _outgrown.Clear();
    }

    public void Dispose()
    {
        FreeOutgrown();
        _tables?.Dispose();
        foreach (CudaEvent copied in _copied)
        {
            copied.Dispose();
        }

        foreach (PinnedBuffer? staging in _staging)
        {
            staging?.Dispose();
        }
    }

    /// <summary>Rows of the bucket that a batch falls into.</summary>
    internal static int Bucket(int rows) => rows switch
    {
        <= 2 => rows,
        <= 4 => 4,
        <= 32 => (rows + 7) & ~7,
        _ => (rows + 15) & ~15,
    };

    private void Measure(StepInputs inputs)
    {
        int max = -1;
        int min = 0;
        foreach (int token in inputs.Tokens)
        {
            max = Math.Max(max, token);
            min = Math.Min(min, token);
        }

        TokenRange = (max, min);
        MaxContext = 0;
        PrefilledCount = 0;
        DecodedRowCount = 0;
        foreach (StepSequence sequence in inputs.Sequences)
        {
            MaxContext = Math.Max(MaxContext, sequence.ContextLength);
            bool isPrefilled = sequence.RowCount >= MinPrefilledRows;
            PrefilledCount += isPrefilled ? 1 : 0;
            DecodedRowCount += isPrefilled ? 0 : sequence.RowCount;
        }
    }

    private void Layout(StepInputs inputs)
    {
        _length = 0;
        int rows = RowBucket;
        int sequences = IsGraphStep ? RowBucket : inputs.Sequences.Length;
        Place(StepTable.Counts, 4);
        Place(StepTable.Tokens, rows);
        Place(StepTable.Positions, rows);
        Place(StepTable.RowSequences, rows);
        Place(StepTable.Sequences, 4 * sequences);
        Place(StepTable.SampledRows, rows);
        Place(StepTable.PrefilledSequences, IsGraphStep ? 0 : PrefilledCount);
        Place(StepTable.DecodedRows, IsGraphStep ? 0 : DecodedRowCount);
        ReadOnlySpan<LoraBatch> batches = [inputs.Lora, inputs.SampledLora, inputs.Restore, inputs.SampledRestore];
        for (int i = 0; i < _lora.Length; i++)
        {
            _lora[i].Measure(LoraTable.CanHold(batches[i]) ? batches[i] : s_none, rows, IsGraphStep, MakesTiles && !IsGraphStep);
            Place(StepTable.Lora + i, _lora[i].Length);
        }

        // Behind all fixed ones, since it grows while a batch runs: a power of two moves rarely. Histories grow with every step, and so they come last.
        Place(StepTable.Blocks, (int)System.Numerics.BitOperations.RoundUpToPowerOf2((uint)Math.Max(64, inputs.BlockTable.Length)));
        Place(StepTable.Sampling, SamplingTable.LengthOf(inputs.Sampling));
    }

    private void Place(StepTable table, int count)
    {
        _offsets[(int)table] = _length;
        _length += (count + SectionAlignment - 1) & -SectionAlignment;
    }

    private Span<int> Staging()
    {
        long bytes = (long)_length * sizeof(int);
        PinnedBuffer? staging = _staging[_current];
        if (staging is not null)
        {
            _copied[_current].Synchronize();
        }

        if (staging is null || staging.ByteCount < bytes)
        {
            staging?.Dispose();
            staging = new PinnedBuffer(Math.Max(64 * 1024, 2 * bytes));
            _staging[_current] = staging;
        }

        return new Span<int>(staging.Pointer, _length);
    }

    private void Fill(StepInputs inputs, Span<int> staging)
    {
        Span<int> counts = Section(staging, StepTable.Counts);
        counts[0] = inputs.TokenCount;
        counts[1] = inputs.SampledRows.Length;
        counts[2] = inputs.Sequences.Length;
        counts[3] = 0;
        inputs.Tokens.CopyTo(Section(staging, StepTable.Tokens));
        inputs.Positions.CopyTo(Section(staging, StepTable.Positions));
        inputs.SampledRows.CopyTo(Section(staging, StepTable.SampledRows));
        inputs.BlockTable.CopyTo(Section(staging, StepTable.Blocks));
        SamplingTable.Encode(inputs.Sampling, MemoryMarshal.Cast<int, uint>(Section(staging, StepTable.Sampling)));
        _hasFreshSampling = !inputs.Sampling.Rows.IsEmpty;
        MemoryMarshal.Cast<StepSequence, int>(inputs.Sequences).CopyTo(Section(staging, StepTable.Sequences));
        for (int i = 0; i < _lora.Length; i++)
        {
            _lora[i].Fill(Section(staging, StepTable.Lora + i), Held);
        }

        Span<int> rowSequences = Section(staging, StepTable.RowSequences);
        for (int i = 0; i < inputs.Sequences.Length; i++)
        {
            rowSequences.Slice(inputs.Sequences[i].FirstRow, inputs.Sequences[i].RowCount).Fill(i);
        }

        if (!IsGraphStep)
        {
            FillKinds(inputs, Section(staging, StepTable.PrefilledSequences), Section(staging, StepTable.DecodedRows));
        }
    }

    private static void FillKinds(StepInputs inputs, Span<int> prefilled, Span<int> decodedRows)
    {
        int sequences = 0;
        int rows = 0;
        for (int i = 0; i < inputs.Sequences.Length; i++)
        {
            StepSequence sequence = inputs.Sequences[i];
            if (sequence.RowCount >= MinPrefilledRows)
            {
                prefilled[sequences++] = i;
                continue;
            }

            for (int row = 0; row < sequence.RowCount; row++)
            {
                decodedRows[rows++] = sequence.FirstRow + row;
            }
        }
    }

    private Span<int> Section(Span<int> staging, StepTable table) => staging[_offsets[(int)table]..];
}
