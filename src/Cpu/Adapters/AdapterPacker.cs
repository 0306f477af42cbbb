using InferenceServer.Cpu.Memory;
using InferenceServer.Cpu.Weights;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Adapters;

namespace InferenceServer.Cpu.Adapters;

/// <summary>Copies an adapter into native memory, in the layout of <see cref="AdapterPart"/>.</summary>
internal static unsafe class AdapterPacker
{
    /// <exception cref="ArgumentException">Shapes inside a module contradict each other, or the format is quantised.</exception>
    public static CpuAdapter Pack(AdapterWeights weights, WeightFormat format, AdapterBlocks blocks)
    {
        AdapterChecks.Check(weights, format);
        AdapterPart?[] parts = new AdapterPart?[weights.Deltas.Count];
        long bytes = 0;
        for (int module = 0; module < parts.Length; module++)
        {
            if (weights.Deltas[module] is LowRankDelta delta)
            {
                bytes += ABytes(delta.A, format) + BBytes(delta.B, format);
            }
        }

        // One block in the order of use, large enough for huge pages: a step reads an adapter from front to back.
        NativeBlock lowRank = blocks.Rent(bytes, $"A and B of '{weights.Label}'");
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

            blocks.Return(lowRank);
            throw;
        }

        GC.KeepAlive(weights);
        return new CpuAdapter(weights.Label, parts, lowRank, bytes, blocks);
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
