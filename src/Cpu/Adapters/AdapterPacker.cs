using InferenceServer.Cpu.Memory;
using InferenceServer.Cpu.Weights;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Adapters;

namespace InferenceServer.Cpu.Adapters;

/// <summary>Copies an adapter into native memory, in the layout of <see cref="AdapterPart"/>, and checks that its shapes agree.</summary>
internal static unsafe class AdapterPacker
{
    /// <exception cref="ArgumentException">Shapes inside a module contradict each other, or the format is quantised.</exception>
    public static CpuAdapter Pack(AdapterWeights weights, WeightFormat format)
    {
        Require(!format.IsQuantized(), $"'{weights.Label}' cannot be kept in {format}: adapters are f32 or bf16");
        AdapterPart?[] parts = new AdapterPart?[weights.Deltas.Count];
        try
        {
            for (int module = 0; module < parts.Length; module++)
            {
                if (weights.Deltas[module] is LowRankDelta delta)
                {
                    parts[module] = PackPart(delta, format, $"module {module} of '{weights.Label}'");
                }
            }
        }
        catch
        {
            foreach (AdapterPart? part in parts)
            {
                part?.Dispose();
            }

            throw;
        }

        return new CpuAdapter(weights.Label, parts);
    }

    private static AdapterPart PackPart(LowRankDelta delta, WeightFormat format, string label)
    {
        Validate(delta, label);
        int outFeatures = delta.B?.Rows ?? delta.OutputScale?.Length ?? delta.OutputBias?.Length ?? 0;
        int inFeatures = delta.A?.Columns ?? delta.InputScale?.Length ?? 0;

        // A replacement of one row is a norm's weight: no linear layer or embedding has a single row.
        HostMatrix? replacement = delta.Replacement;
        return new AdapterPart
        {
            Rank = delta.Rank,
            OutFeatures = outFeatures,
            InFeatures = inFeatures,
            Format = format,
            A = delta.Rank > 0 ? PackA(delta.A!, format, label) : null,
            B = delta.Rank > 0 ? PackB(delta.B!, format, label) : null,
            Gate = delta.Gate is null ? null : PackGate(delta.Gate, label),
            OutputScale = delta.OutputScale is null ? null : PackVector(delta.OutputScale, label),
            InputScale = delta.InputScale is null ? null : PackVector(delta.InputScale, label),
            OutputBias = delta.OutputBias is null ? null : PackBuffer(delta.OutputBias, label),
            NormWeight = replacement is { Rows: 1 } ? PackBuffer(replacement.Values, label) : null,
            Replacement = replacement is null or { Rows: 1 } ? null : PackReplacement(replacement, format, label),
            ReplacedTokens = delta.ReplacedRows?.Tokens ?? [],
            ReplacedRows = delta.ReplacedRows is null ? null : PackRows(delta.ReplacedRows.Values, label),
            ReplacedColumns = delta.ReplacedRows?.Values.Columns ?? 0,
        };
    }

    private static void Validate(LowRankDelta delta, string label)
    {
        if ((delta.A is null) != (delta.B is null))
        {
            throw new ArgumentException($"{label} has {(delta.A is null ? "B without A" : "A without B")}");
        }

        Require(delta.A is null || delta.A.Rows == delta.B!.Columns, $"{label}: A has {delta.A?.Rows} rows, B {delta.B?.Columns} columns");
        if (delta.Gate is RankGate gate)
        {
            Validate(gate, delta.A, label);
        }

        RequireFull(delta.A, $"A of {label}");
        RequireFull(delta.B, $"B of {label}");
        RequireFull(delta.Replacement, $"replacement of {label}");
        RequireFull(delta.ReplacedRows?.Values, $"replaced rows of {label}");
        RequireLength(delta.OutputScale, delta.B?.Rows, $"output scale of {label}");
        RequireLength(delta.OutputBias, delta.B?.Rows ?? delta.OutputScale?.Length, $"output bias of {label}");
        RequireLength(delta.InputScale, delta.A?.Columns, $"input scale of {label}");
        if (delta.ReplacedRows is ReplacedRows replaced)
        {
            int[] tokens = replaced.Tokens;
            Require(tokens.Length == replaced.Values.Rows, $"{label}: {tokens.Length} replaced tokens, {replaced.Values.Rows} rows");
            for (int i = 0; i < tokens.Length; i++)
            {
                Require(tokens[i] >= 0 && (i == 0 || tokens[i] > tokens[i - 1]), $"{label}: replaced tokens are not ascending at {tokens[i]}");
            }
        }
    }

    private static void Validate(RankGate gate, HostMatrix? a, string label)
    {
        int blocks = gate.BlockRanks.Length;
        Require(a is not null, $"{label} has a gate without A");
        Require(blocks is >= 1 and <= RankGate.MaxBlocks, $"{label}: {blocks} blocks are not between 1 and {RankGate.MaxBlocks}");
        long ranks = 0;
        foreach (int rank in gate.BlockRanks)
        {
            Require(rank >= 0, $"{label}: a block of rank {rank}");
            ranks += rank;
        }

        Require(ranks == a!.Rows, $"{label}: the blocks have {ranks} ranks, A {a.Rows}");
        Require(
            gate.Weight.Rows == blocks && gate.Weight.Columns == a.Columns,
            $"gate of {label} is [{gate.Weight.Rows}, {gate.Weight.Columns}], not [{blocks}, {a.Columns}]");
        RequireFull(gate.Weight, $"gate of {label}");
        RequireLength(gate.Bias, blocks, $"gate bias of {label}");
        Require(gate.Temperature > 0 && float.IsFinite(gate.Temperature), $"{label}: the gate's temperature {gate.Temperature} is not above 0");
        Require(gate.TopK >= 1 && gate.TopK <= blocks, $"{label}: the gate's top {gate.TopK} of {blocks} blocks");
    }

    private static void RequireFull(HostMatrix? matrix, string name) => Require(
        matrix is null || (matrix.Rows > 0 && matrix.Columns > 0 && matrix.Values.Length == (long)matrix.Rows * matrix.Columns),
        $"{name} is [{matrix?.Rows}, {matrix?.Columns}] with {matrix?.Values.Length} values");

    private static void RequireLength(float[]? values, int? length, string name) =>
        Require(values is null || length is null || values.Length == length, $"{name} has {values?.Length} values, not {length}");

    private static void Require(bool condition, string message)
    {
        if (!condition)
        {
            throw new ArgumentException(message);
        }
    }

    private static NativeBlock PackA(HostMatrix a, WeightFormat format, string label)
    {
        int stride = AdapterPart.RoundUp(a.Columns);
        NativeBlock block = new((long)a.Rows * stride * SizeOf(format), $"A of {label}");
        for (int row = 0; row < a.Rows; row++)
        {
            for (int column = 0; column < a.Columns; column++)
            {
                Put(block.Pointer, ((long)row * stride) + column, a.Values[((long)row * a.Columns) + column], format);
            }
        }

        return block;
    }

    private static NativeBlock PackB(HostMatrix b, WeightFormat format, string label)
    {
        int panels = PanelLayout.PanelCount(b.Rows);
        NativeBlock block = new((long)panels * PanelLayout.Width * b.Columns * SizeOf(format), $"B of {label}");
        for (int row = 0; row < b.Rows; row++)
        {
            long panel = (long)(row / PanelLayout.Width) * b.Columns;
            for (int rank = 0; rank < b.Columns; rank++)
            {
                long index = ((panel + rank) * PanelLayout.Width) + (row % PanelLayout.Width);
                Put(block.Pointer, index, b.Values[((long)row * b.Columns) + rank], format);
            }
        }

        return block;
    }

    private static AdapterGate PackGate(RankGate gate, string label) => new()
    {
        BlockRanks = gate.BlockRanks,
        Weight = PackA(gate.Weight, WeightFormat.F32, $"the gate of {label}"),
        Bias = gate.Bias is null ? null : PackVector(gate.Bias, $"the gate of {label}"),
        Temperature = gate.Temperature,
        TopK = gate.TopK,
    };

    private static NativeBlock PackVector(float[] values, string label)
    {
        NativeBlock block = new((long)AdapterPart.RoundUp(values.Length) * sizeof(float), $"scale of {label}");
        values.CopyTo(new Span<float>(block.Pointer, values.Length));
        return block;
    }

    private static CpuBuffer PackBuffer(float[] values, string label)
    {
        CpuBuffer buffer = new((long)values.Length * sizeof(float), $"vector of {label}");
        values.CopyTo(new Span<float>(buffer.Pointer, values.Length));
        return buffer;
    }

    private static NativeBlock PackRows(HostMatrix rows, string label)
    {
        int stride = AdapterPart.RoundUp(rows.Columns);
        NativeBlock block = new((long)rows.Rows * stride * sizeof(float), $"replaced rows of {label}");
        for (int row = 0; row < rows.Rows; row++)
        {
            rows.Row(row).CopyTo(new Span<float>((float*)block.Pointer + ((long)row * stride), rows.Columns));
        }

        return block;
    }

    // One thread: an adapter is loaded beside running steps, which need the others.
    private static CpuWeightMatrix PackReplacement(HostMatrix matrix, WeightFormat format, string label) => CpuWeightMatrix.Pack(
        matrix.Rows,
        matrix.Columns,
        format,
        $"replacement of {label}",
        (firstRow, target) => matrix.Values.AsSpan(firstRow * matrix.Columns, target.Length).CopyTo(target),
        threads: 1);

    private static int SizeOf(WeightFormat format) => format == WeightFormat.F32 ? sizeof(float) : sizeof(ushort);

    private static void Put(byte* target, long index, float value, WeightFormat format)
    {
        if (format == WeightFormat.F32)
        {
            ((float*)target)[index] = value;
        }
        else
        {
            ((ushort*)target)[index] = BFloat16.FromSingle(value);
        }
    }
}
