using InferenceServer.Tensors.Adapters;

namespace InferenceServer.TestKit.ReferenceMaths;

/// <summary>A stack of adapters on one linear module, in f64.</summary>
public static class AdapterReference
{
    /// <summary><c>(1 + sum w (OutputScale - 1)) y + sum w (B (A x) + OutputBias)</c> for one row.</summary>
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
        : matrix with { Values = [.. matrix.Values.Select(value => Tensors.BFloat16.ToSingle(Tensors.BFloat16.FromSingle(value)))] };

    private static double LowRank(LowRankDelta delta, ReadOnlySpan<float> x, int output)
    {
        double sum = 0;
        for (int r = 0; r < delta.Rank; r++)
        {
            double h = 0;
            for (int i = 0; i < x.Length; i++)
            {
                h += (double)delta.A!.Row(r)[i] * x[i];
            }

            sum += h * delta.B!.Row(output)[r];
        }

        return sum;
    }
}
