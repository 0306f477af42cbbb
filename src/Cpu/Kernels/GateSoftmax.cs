using System.Diagnostics;
using InferenceServer.Tensors.Adapters;

namespace InferenceServer.Cpu.Kernels;

/// <summary>The weights of one row's blocks: <c>softmax((scores + bias) / temperature)</c> over the largest scores, 0 for the others.</summary>
internal static unsafe class GateSoftmax
{
    /// <param name="scores">Scores of the row.</param>
    /// <param name="bias">Added to them; null for zeros.</param>
    /// <param name="count">Blocks, at most <see cref="RankGate.MaxBlocks"/>.</param>
    /// <param name="temperature">Divides them.</param>
    /// <param name="topK">How many take part; of equal ones the first.</param>
    /// <param name="weights">Results; may be the scores.</param>
    public static void Apply(float* scores, float* bias, int count, float temperature, int topK, float* weights)
    {
        Debug.Assert(count <= RankGate.MaxBlocks, "one bit of the mask for each block");
        for (int i = 0; i < count; i++)
        {
            weights[i] = (scores[i] + (bias is null ? 0 : bias[i])) / temperature;
        }

        ulong chosen = topK < count ? Largest(weights, count, topK) : ulong.MaxValue;
        float max = float.NegativeInfinity;
        for (int i = 0; i < count; i++)
        {
            max = IsIn(chosen, i) ? MathF.Max(max, weights[i]) : max;
        }

        float sum = 0;
        for (int i = 0; i < count; i++)
        {
            weights[i] = IsIn(chosen, i) ? MathF.Exp(weights[i] - max) : 0;
            sum += weights[i];
        }

        for (int i = 0; i < count; i++)
        {
            weights[i] /= sum;
        }
    }

    private static bool IsIn(ulong mask, int index) => (mask >> index & 1) != 0;

    // One bit for each of the largest values. A handful of blocks: counting the larger ones is cheaper than sorting.
    private static ulong Largest(float* values, int count, int topK)
    {
        ulong mask = 0;
        for (int i = 0; i < count; i++)
        {
            int larger = 0;
            for (int j = 0; j < count; j++)
            {
                larger += values[j] > values[i] || (values[j] == values[i] && j < i) ? 1 : 0;
            }

            mask |= larger < topK ? 1UL << i : 0;
        }

        return mask;
    }
}
