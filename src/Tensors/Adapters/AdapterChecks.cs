namespace InferenceServer.Tensors.Adapters;

/// <summary>What the parts of an adapter must agree in, for every backend alike.</summary>
public static class AdapterChecks
{
    /// <exception cref="ArgumentException">Shapes inside a module contradict each other, or the format is quantised.</exception>
    public static void Check(AdapterWeights weights, WeightFormat format)
    {
        Require(!format.IsQuantized(), $"'{weights.Label}' cannot be kept in {format}: adapters are f32 or bf16");
        for (int module = 0; module < weights.Deltas.Count; module++)
        {
            if (weights.Deltas[module] is LowRankDelta delta)
            {
                Check(delta, $"module {module} of '{weights.Label}'");
            }
        }
    }

    private static void Check(LowRankDelta delta, string label)
    {
        if ((delta.A is null) != (delta.B is null))
        {
            throw new ArgumentException($"{label} has {(delta.A is null ? "B without A" : "A without B")}");
        }

        Require(delta.A is null || delta.A.Rows == delta.B!.Columns, $"{label}: A has {delta.A?.Rows} rows, B {delta.B?.Columns} columns");
        if (delta.Gate is RankGate gate)
        {
            Check(gate, delta.A, label);
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

    private static void Check(RankGate gate, HostMatrix? a, string label)
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
        matrix is null || (matrix.Rows > 0 && matrix.Columns > 0 && matrix.ElementCount == (long)matrix.Rows * matrix.Columns),
        $"{name} is [{matrix?.Rows}, {matrix?.Columns}] with {matrix?.ElementCount} values");

    private static void RequireLength(float[]? values, int? length, string name) =>
        Require(values is null || length is null || values.Length == length, $"{name} has {values?.Length} values, not {length}");

    private static void Require(bool condition, string message)
    {
        if (!condition)
        {
            throw new ArgumentException(message);
        }
    }
}
