using System.Runtime.InteropServices;
using InferenceServer.Cuda.Devices;
using InferenceServer.Cuda.Interop;
using InferenceServer.Cuda.Memory;
using InferenceServer.Tensors.Sampling;

namespace InferenceServer.Cuda.Sampling;

/// <summary>
/// A batch's rows and lists in device memory: they differ from step to step and so may not be arguments of launches. Each row also has what kernels
/// find out about it, zero at first; sampling.cuh has the layout. A step's own batch lies among its tables (<see cref="Steps.StepTables"/>) and costs
/// no copy; any other is written here by one. Whoever writes has waited for the last step.
/// </summary>
internal sealed unsafe class SamplingTable : IDisposable
{
    private const int RowWords = 32;
    private const uint Drawn = 1;
    private const uint LogprobWanted = 2;

    private readonly CudaDevice _device;
    private PinnedBuffer? _staging;
    private CudaBuffer? _table;

    public SamplingTable(CudaDevice device) => _device = device;

    public ulong Address => _table!.Address;

    /// <summary>What the rows of a batch need at most.</summary>
    public static SamplingKind KindOf(SamplingBatch batch, int vocabularySize)
    {
        SamplingKind kind = SamplingKind.Best;
        foreach (ref readonly SamplingRow row in batch.Rows)
        {
            kind = (SamplingKind)Math.Max((int)kind, (int)KindOf(row, vocabularySize));
        }

        return kind;
    }

    /// <summary>Words of a batch's table.</summary>
    public static int LengthOf(SamplingBatch batch) => (batch.Rows.Length * RowWords) + batch.Tokens.Length + (2 * batch.Biases.Length);

    /// <summary>Writes a batch into <see cref="LengthOf"/> words.</summary>
    public static void Encode(SamplingBatch batch, Span<uint> words)
    {
        int tokens = batch.Rows.Length * RowWords;
        int biases = tokens + batch.Tokens.Length;
        for (int i = 0; i < batch.Rows.Length; i++)
        {
            Encode(batch.Rows[i], tokens, biases, words.Slice(i * RowWords, RowWords));
        }

        MemoryMarshal.Cast<int, uint>(batch.Tokens).CopyTo(words[tokens..]);
        foreach ((int token, float bias) in batch.Biases)
        {
            words[biases++] = (uint)token;
            words[biases++] = BitConverter.SingleToUInt32Bits(bias);
        }
    }

    /// <summary>Writes a batch.</summary>
    /// <param name="batch">The batch.</param>
    /// <param name="stream">Where the copy is put.</param>
    public void Write(SamplingBatch batch, CudaStream stream)
    {
        int length = LengthOf(batch);
        long bytes = (long)length * sizeof(uint);
        Reserve(bytes);
        Encode(batch, new Span<uint>(_staging!.Pointer, length));
        CudaDriver.Check(CudaDriver.CopyToDevice(_table!.Address, _staging.Pointer, (nuint)bytes, stream.Pointer), "copy of the sampling table");
    }

    public void Dispose()
    {
        _staging?.Dispose();
        _table?.Dispose();
    }

    private static SamplingKind KindOf(in SamplingRow row, int vocabularySize)
    {
        if (!row.IsDrawn || row.Temperature == 0f)
        {
            return SamplingKind.Best;
        }

        return (row.TopK > 0 && row.TopK < vocabularySize) || row.TopP < 1f ? SamplingKind.Filter : SamplingKind.Draw;
    }

    private static void Encode(in SamplingRow row, int tokens, int biases, Span<uint> words)
    {
        words.Clear();
        words[0] = BitConverter.SingleToUInt32Bits(row.Temperature);
        words[1] = (uint)row.TopK;
        words[2] = BitConverter.SingleToUInt32Bits(row.TopP);
        words[3] = BitConverter.SingleToUInt32Bits(row.MinP);
        words[4] = BitConverter.SingleToUInt32Bits(row.RepetitionPenalty);
        words[5] = BitConverter.SingleToUInt32Bits(row.PresencePenalty);
        words[6] = BitConverter.SingleToUInt32Bits(row.FrequencyPenalty);
        words[7] = (row.IsDrawn ? Drawn : 0) | (row.WantsLogprob ? LogprobWanted : 0);
        words[8] = (uint)row.Seed;
        words[9] = (uint)(row.Seed >> 32);
        words[10] = (uint)row.Draw;
        words[11] = (uint)(row.Draw >> 32);
        words[12] = (uint)(tokens + row.FirstToken);
        words[13] = (uint)row.PromptCount;
        words[14] = (uint)row.OutputCount;
        words[15] = (uint)row.BannedCount;
        words[16] = (uint)(biases + (2 * row.FirstBias));
        words[17] = (uint)row.BiasCount;
    }

    private void Reserve(long bytes)
    {
        if (_table is not null && _table.ByteCount >= bytes)
        {
            return;
        }

        // Twice as much: histories grow by a token a step, and a table that moves makes new graphs.
        Dispose();
        _staging = null;
        _table = null;
        long size = Math.Max(64 * 1024, 2 * bytes);
        _staging = new PinnedBuffer(size);
        _table = new CudaBuffer(_device, size, "sampling table");
    }
}
