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
        long bytes = 0;
        for (int module = 0; module < parts.Length; module++)
        {
            if (weights.Deltas[module] is LowRankDelta delta)
            {
                Validate(delta, Label(weights, module));
                bytes += ABytes(delta.A, format) + BBytes(delta.B, format);
            }
        }

        // One block in the order of use, large enough for huge pages: a step reads an adapter from front to back.
        NativeBlock lowRank = new(bytes, $"A and B of '{weights.Label}'");
        byte* next = lowRank.Pointer;
        try
        {
            for (int module = 0; module < parts.Length; module++)
            {
                if (weights.Deltas[module] is LowRankDelta delta)
                {
                    parts[module] = PackPart(delta, format, Label(weights, module), next);
                    next += ABytes(delta.A, format) + BBytes(delta.B, format);
                }
            }
        }
        catch
        {
            foreach (AdapterPart? part in parts)
            {
                part?.Dispose();
            }

            lowRank.Dispose();
            throw;
        }

        return new CpuAdapter(weights.Label, parts, lowRank);
    }

    private static string Label(AdapterWeights weights, int module) => $"module {module} of '{weights.Label}'";

    private static long ABytes(HostMatrix? a, WeightFormat format) => LowRankLayout.ByteCount(a?.Rows ?? 0, a?.Columns ?? 0, format);

    private static long BBytes(HostMatrix? b, WeightFormat format) => LowRankLayout.ByteCount(b?.Columns ?? 0, b?.Rows ?? 0, format);

    private static AdapterPart PackPart(LowRankDelta delta, WeightFormat format, string label, byte* lowRank)
    {
        int outFeatures = delta.B?.Rows ?? delta.OutputScale?.Length ?? delta.OutputBias?.Length ?? 0;
        int inFeatures = delta.A?.Columns ?? delta.InputScale?.Length ?? 0;
        byte* b = lowRank + ABytes(delta.A, format);
        if (delta.Rank > 0)
        {
            LowRankLayout.PackA(delta.A!, format, lowRank);
            LowRankLayout.PackB(delta.B!, format, b);
        }

        // A replacement of one row is a norm's weight: no linear layer or embedding has a single row.
        HostMatrix? replacement = delta.Replacement;
        return new AdapterPart
        {
            Rank = delta.Rank,
            OutFeatures = outFeatures,
            InFeatures = inFeatures,
            Format = format,
            A = delta.Rank > 0 ? lowRank : null,
            B = delta.Rank > 0 ? b : null,
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

    private static AdapterGate PackGate(RankGate gate, string label)
    {
        NativeBlock weight = new(ABytes(gate.Weight, WeightFormat.F32), $"the gate of {label}");
        LowRankLayout.PackA(gate.Weight, WeightFormat.F32, weight.Pointer);
        return new AdapterGate
        {
            BlockRanks = gate.BlockRanks,
            Weight = weight,
            Bias = gate.Bias is null ? null : PackVector(gate.Bias, $"the gate of {label}"),
            Temperature = gate.Temperature,
            TopK = gate.TopK,
        };
    }

    private static NativeBlock PackVector(float[] values, string label)
    {
        NativeBlock block = new((long)LowRankLayout.RoundUp(values.Length) * sizeof(float), $"scale of {label}");
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
        int stride = LowRankLayout.RoundUp(rows.Columns);
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
}
