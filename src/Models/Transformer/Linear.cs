using InferenceServer.Tensors;
using InferenceServer.Tensors.Steps;

namespace InferenceServer.Models.Transformer;

/// <summary>
/// A linear layer and the adapters on it: <c>y = x W^T</c>, then the adapters' changes, then the bias. While an adapter is merged,
/// <see cref="Weight"/> is the folded matrix and the rows that must not have it are restored first.
/// </summary>
public sealed class Linear : IDisposable
{
    private readonly DeviceBuffer? _bias;

    public Linear(IReadOnlyList<LinearSlice> slices, WeightMatrix weight, DeviceBuffer? bias, bool ownsWeight = true)
    {
        Slices = [.. slices];
        Original = weight;
        Weight = weight;
        _bias = bias;
        OwnsWeight = ownsWeight;
    }

    /// <summary>The modules side by side in this matrix.</summary>
    public LinearSlice[] Slices { get; }

    /// <summary>The base weight, never changed.</summary>
    public WeightMatrix Original { get; }

    /// <summary>What is multiplied: the base weight, or a folded one while an adapter is merged. Written between steps only.</summary>
    public WeightMatrix Weight { get; internal set; }

    public int InFeatures => Original.Columns;

    public int OutFeatures => Original.Rows;

    internal DeviceBuffer? Bias => _bias;

    private bool OwnsWeight { get; }

    /// <summary>The same layer over the base weight, whatever is merged here; it shares the memory and must not be disposed.</summary>
    internal Linear Unmerged() => new(Slices, Original, _bias, ownsWeight: false);

    /// <summary>Computes the layer for all rows.</summary>
    /// <param name="backend">The machine.</param>
    /// <param name="restore">The merged adapter's inverse for the rows without it.</param>
    /// <param name="adapters">The rows' own adapters.</param>
    /// <param name="x"><c>[T, in]</c>; kept as it is.</param>
    /// <param name="y"><c>[T, out]</c>.</param>
    /// <param name="scratch">Memory for scaled inputs, taken only when an adapter scales them.</param>
    public void Forward(IComputeBackend backend, LoraBatch restore, LoraBatch adapters, TensorView x, TensorView y, ScratchPool scratch)
    {
        if (restore.Groups.IsEmpty && adapters.Groups.IsEmpty)
        {
            backend.MatMul(x, Weight, y);
        }
        else
        {
            MultiplyWithAdapters(backend, restore, adapters, x, y, scratch);
        }

        if (_bias is not null)
        {
            backend.AddBias(_bias, y);
        }
    }

    public void Dispose()
    {
        _bias?.Dispose();
        if (OwnsWeight)
        {
            Original.Dispose();
        }
    }

    private void MultiplyWithAdapters(IComputeBackend backend, LoraBatch restore, LoraBatch adapters, TensorView x, TensorView y, ScratchPool scratch)
    {
        bool isWhole = Slices.Length == 1;
        if (!isWhole || !ScalesInput(restore, adapters, Slices[0].Module.Index))
        {
            backend.MatMul(x, Weight, y);
        }

        foreach (LinearSlice slice in Slices)
        {
            int module = slice.Module.Index;
            TensorView input = x;
            TensorView output = isWhole ? y : y.SliceColumns(slice.FirstRow, slice.RowCount);
            if (ScalesInput(restore, adapters, module))
            {
                input = scratch.Inputs(x.Rows, x.Columns);
                backend.ScaleInputs(restore, module, x, input);
                backend.ScaleInputs(adapters, module, input, input);
                MultiplyScaled(backend, input, output, slice, scratch);
            }

            // What the merged adapter added saw the input that the weight saw; the rows' own low-rank parts see the unscaled one.
            backend.ApplyAdapters(restore, module, input, output);
            Replace(backend, adapters, module, x, output);
            backend.ApplyAdapters(adapters, module, x, output);
        }
    }

    private void MultiplyScaled(IComputeBackend backend, TensorView input, TensorView output, LinearSlice slice, ScratchPool scratch)
    {
        if (Slices.Length == 1)
        {
            backend.MatMul(input, Weight, output);
            return;
        }

        // Scaling the input of one projection among several (IA3 on a fused feed-forward) is rare: the whole matrix is multiplied
        // again and only the slice is kept.
        TensorView wide = scratch.Outputs(input.Rows, OutFeatures);
        backend.MatMul(input, Weight, wide);
        backend.Scale(0f, output);
        backend.Add(wide.SliceColumns(slice.FirstRow, slice.RowCount), output);
    }

    private static void Replace(IComputeBackend backend, LoraBatch adapters, int module, TensorView x, TensorView y)
    {
        foreach (ref readonly LoraGroup group in adapters.Groups)
        {
            foreach (ref readonly LoraEntry entry in adapters.EntriesOf(group))
            {
                if (entry.Adapter.Replacement(module) is { } weight)
                {
                    backend.MatMul(x.SliceRows(group.FirstRow, group.RowCount), weight, y.SliceRows(group.FirstRow, group.RowCount));
                }
            }
        }
    }

    private static bool ScalesInput(LoraBatch restore, LoraBatch adapters, int module) =>
        ScalesInput(restore, module) || ScalesInput(adapters, module);

    private static bool ScalesInput(LoraBatch batch, int module)
    {
        foreach (ref readonly LoraEntry entry in batch.Entries)
        {
            if (entry.Adapter.ScalesInput(module))
            {
                return true;
            }
        }

        return false;
    }
}
