using System.Numerics.Tensors;
using InferenceServer.Models.Transformer;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Adapters;

namespace InferenceServer.Models.Merging;

/// <summary>
/// Folds linear changes: <c>W' = diag(g) W diag(l) + B A</c>. Its inverse for the other rows is <c>W = diag(1/g) (W' - B A) diag(1/l)</c>,
/// which is again a <see cref="LowRankDelta"/>; it exists as long as no g or l is close to zero.
/// </summary>
internal static class AdapterFolder
{
    // A factor below this would blow rounding errors of W' up by as much in every other tenant's rows.
    private const float SmallestScale = 1e-2f;

    public static FoldedAdapter Fold(IComputeBackend backend, IEnumerable<Linear> linears, AdapterWeights weights, WeightFormat format)
    {
        RefuseGates(linears, weights);
        LowRankDelta?[] inverse = new LowRankDelta?[weights.Deltas.Count];
        LowRankDelta?[] residual = [.. weights.Deltas];
        List<KeyValuePair<Linear, WeightMatrix>> folded = [];
        int modules = 0;
        try
        {
            foreach (Linear linear in linears)
            {
                LinearSlice[] slices = [.. linear.Slices.Where(slice => IsFoldable(weights.Deltas[slice.Module.Index]))];
                if (slices.Length == 0)
                {
                    continue;
                }

                foreach (LinearSlice slice in slices)
                {
                    LowRankDelta delta = weights.Deltas[slice.Module.Index]!;
                    inverse[slice.Module.Index] = Invert(delta, slice.Module, weights.Label);
                    residual[slice.Module.Index] = delta.OutputBias is null ? null : new LowRankDelta { OutputBias = delta.OutputBias };
                    modules++;
                }

                folded.Add(new KeyValuePair<Linear, WeightMatrix>(linear, Fold(backend, linear, slices, weights, format)));
            }
        }
        catch
        {
            foreach ((_, WeightMatrix weight) in folded)
            {
                weight.Dispose();
            }

            throw;
        }

        return new FoldedAdapter(
            folded,
            new AdapterWeights($"inverse of {weights.Label}", inverse),
            new AdapterWeights($"rest of {weights.Label}", residual),
            modules);
    }

    private static WeightMatrix Fold(IComputeBackend backend, Linear linear, LinearSlice[] slices, AdapterWeights weights, WeightFormat format)
    {
        string label = $"{linear.Original.Label} with {weights.Label}";
        if (backend is IFoldingBackend folding)
        {
            RowChange[] changes = [.. slices.Select(slice => new RowChange(slice.FirstRow, slice.RowCount, weights.Deltas[slice.Module.Index]!))];
            return folding.Fold(linear.Original, changes, format, label);
        }

        return backend.CreateMatrix(
            linear.OutFeatures,
            linear.InFeatures,
            format,
            label,
            (row, target) => ReadFolded(backend, linear, slices, weights, row, target));
    }

    // Which part of B A a row takes depends on the row: no weight holds that.
    private static void RefuseGates(IEnumerable<Linear> linears, AdapterWeights weights)
    {
        foreach (LinearSlice slice in linears.SelectMany(linear => linear.Slices))
        {
            if (weights.Deltas[slice.Module.Index]?.Gate is not null)
            {
                throw new MergeException(
                    $"'{weights.Label}' cannot be merged: it is routed, {slice.Module.Path} weighs its adapters anew for each token, so no one weight holds it");
            }
        }
    }

    private static bool IsFoldable(LowRankDelta? delta) =>
        delta is { Replacement: null } && (delta.A is not null || delta.OutputScale is not null || delta.InputScale is not null);

    private static LowRankDelta Invert(LowRankDelta delta, ModuleShape module, string label)
    {
        float[]? scale = Reciprocal(delta.OutputScale, "output", module, label);
        float[]? inputScale = Reciprocal(delta.InputScale, "input", module, label);
        if (delta.A is not null && inputScale is not null)
        {
            throw new MergeException($"'{label}' cannot be merged: {module.Path} has both an input scale and a low-rank part");
        }

        return new LowRankDelta
        {
            A = delta.A,
            B = delta.B is null ? null : NegateRows(delta.B, scale),
            OutputScale = scale,
            InputScale = inputScale,
        };
    }

    private static float[]? Reciprocal(float[]? scale, string what, ModuleShape module, string label)
    {
        if (scale is null)
        {
            return null;
        }

        float[] reciprocal = new float[scale.Length];
        for (int i = 0; i < scale.Length; i++)
        {
            if (Math.Abs(scale[i]) < SmallestScale)
            {
                throw new MergeException(
                    $"'{label}' cannot be merged: {what} {i} of {module.Path} is scaled by {scale[i]:g3}, and below {SmallestScale} the others' rows could not be restored");
            }

            reciprocal[i] = 1f / scale[i];
        }

        return reciprocal;
    }

    private static HostMatrix NegateRows(HostMatrix matrix, float[]? scale)
    {
        float[] values = new float[matrix.Rows * matrix.Columns];
        for (int row = 0; row < matrix.Rows; row++)
        {
            TensorPrimitives.Multiply(matrix.Row(row), -(scale?[row] ?? 1f), values.AsSpan(row * matrix.Columns, matrix.Columns));
        }

        return new HostMatrix(matrix.Rows, matrix.Columns, values);
    }

    private static void ReadFolded(
        IComputeBackend backend,
        Linear linear,
        LinearSlice[] slices,
        AdapterWeights weights,
        int firstRow,
        Span<float> target)
    {
        int columns = linear.InFeatures;
        backend.ReadMatrix(linear.Original, firstRow, target);
        foreach (LinearSlice slice in slices)
        {
            LowRankDelta delta = weights.Deltas[slice.Module.Index]!;
            int first = Math.Max(firstRow, slice.FirstRow);
            int end = Math.Min(firstRow + (target.Length / columns), slice.FirstRow + slice.RowCount);
            for (int row = first; row < end; row++)
            {
                WeightFold.Row(delta, row - slice.FirstRow, target.Slice((row - firstRow) * columns, columns));
            }
        }
    }
}
