using InferenceServer.Tensors.Adapters;

namespace InferenceServer.TestKit.ReferenceMaths;

/// <summary>A stack of adapters on one linear module, in f64.</summary>
public static class AdapterReference
{
    /// <summary><c>(1 + sum w (OutputScale - 1)) y + sum w (B (g A x) + OutputBias)</c> for one row; g is 1 without a gate.</summary>
    public static double[] Apply(ReadOnlySpan<float> x, ReadOnlySpan<float> y, (LowRankDelta Delta, float Weight)[] stack)
    {
        double[] result = new double[y.Length];
        for (int o = 0; o < y.Length; o++)
        {
            double scale = 1;
            foreach ((LowRankDelta delta, float weight) in stack)
            {
                scale += weight * ((delta.OutputScale?[o] ?? 1) - 1.0);
            }

            result[o] = scale * y[o];
            foreach ((LowRankDelta delta, float weight) in stack)
            {
                result[o] += weight * (LowRank(delta, x, o) + (delta.OutputBias?[o] ?? 0));
            }
        }

        return result;
    }

    /// <summary>The same delta with A and B rounded as a bf16 device keeps them.</summary>
    public static LowRankDelta Rounded(LowRankDelta delta) => delta with { A = Rounded(delta.A), B = Rounded(delta.B) };

    private static HostMatrix? Rounded(HostMatrix? matrix) => matrix is null
        ? null
        : new HostMatrix(matrix.Rows, matrix.Columns, [.. matrix.Values.Select(value => Tensors.BFloat16.ToSingle(Tensors.BFloat16.FromSingle(value)))]);

    /// <summary>The weights of a gate's blocks for one row: softmax over the largest scores.</summary>
    public static double[] BlockWeights(RankGate gate, ReadOnlySpan<float> x)
    {
        double[] scores = new double[gate.BlockRanks.Length];
        for (int block = 0; block < scores.Length; block++)
        {
            scores[block] = (Dot(gate.Weight.Row(block), x) + (gate.Bias?[block] ?? 0)) / gate.Temperature;
        }

        int[] chosen = [.. Enumerable.Range(0, scores.Length).OrderByDescending(block => scores[block]).ThenBy(block => block).Take(gate.TopK)];
        double sum = chosen.Sum(block => Math.Exp(scores[block] - scores[chosen[0]]));
        return [.. scores.Select((score, block) => chosen.Contains(block) ? Math.Exp(score - scores[chosen[0]]) / sum : 0)];
    }

    private static double LowRank(LowRankDelta delta, ReadOnlySpan<float> x, int output)
    {
        double[] factors = delta.Gate is not { } gate
            ? [.. Enumerable.Repeat(1.0, delta.Rank)]
            : [.. BlockWeights(gate, x).SelectMany((weight, block) => Enumerable.Repeat(weight, gate.BlockRanks[block]))];
        double sum = 0;
        for (int r = 0; r < delta.Rank; r++)
        {
            sum += factors[r] * Dot(delta.A!.Row(r), x) * delta.B!.Row(output)[r];
        }

        return sum;
    }

    private static double Dot(ReadOnlySpan<float> left, ReadOnlySpan<float> right)
    {
        double sum = 0;
        for (int i = 0; i < right.Length; i++)
        {
            sum += (double)left[i] * right[i];
        }

        return sum;
    }
}
