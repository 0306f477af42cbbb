using System.Numerics.Tensors;
using InferenceServer.Tensors.Adapters;

namespace InferenceServer.Models.Merging;

/// <summary>The linear change of a weight, row by row: <c>W' = diag(g) W diag(l) + B A</c>, g and l being output and input scale.</summary>
internal static class WeightFold
{
    /// <summary>Changes one row of the weight in place.</summary>
    /// <param name="delta">The change; its scales and low-rank part count here.</param>
    /// <param name="row">Number of the row.</param>
    /// <param name="weight">The row.</param>
    public static void Row(LowRankDelta delta, int row, Span<float> weight)
    {
        if (delta.OutputScale is not null)
        {
            TensorPrimitives.Multiply(weight, delta.OutputScale[row], weight);
        }

        if (delta.InputScale is not null)
        {
            TensorPrimitives.Multiply(weight, delta.InputScale, weight);
        }

        if (delta.A is null)
        {
            return;
        }

        ReadOnlySpan<float> b = delta.B!.Row(row);
        for (int r = 0; r < b.Length; r++)
        {
            TensorPrimitives.MultiplyAdd(delta.A.Row(r), b[r], weight, weight);
        }
    }
}
