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
    private readonly ModuleColumns[] _columns;

    public Linear(IReadOnlyList<LinearSlice> slices, WeightMatrix weight, DeviceBuffer? bias, bool ownsWeight = true)
    {
        Slices = [.. slices];
        _columns = [.. slices.Select(slice => new ModuleColumns(slice.Module.Index, slice.FirstRow, slice.RowCount))];
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
        bool scalesInput = ScalesInput(restore, adapters);
        if (Slices.Length > 1 || !scalesInput)
        {
            backend.MatMul(x, Weight, y);
        }

        if (scalesInput)
        {
            RestoreScaled(backend, restore, adapters, x, y, scratch);
        }
        else if (!restore.Groups.IsEmpty)
        {
            backend.ApplyAdapters(restore, _columns, x, y);
        }

        Replace(backend, adapters, x, y);
        backend.ApplyAdapters(adapters, _columns, x, y);
    }

    // What the merged adapter added saw the input that the weight saw; the rows' own low-rank parts see the unscaled one.
    private void RestoreScaled(IComputeBackend backend, LoraBatch restore, LoraBatch adapters, TensorView x, TensorView y, ScratchPool scratch)
    {
        for (int i = 0; i < Slices.Length; i++)
        {
            int module = _columns[i].Module;
            TensorView input = x;
            if (ScalesInput(restore, module) || ScalesInput(adapters, module))
            {
                input = scratch.Inputs(x.Rows, x.Columns);
                backend.ScaleInputs(restore, module, x, input);
                backend.ScaleInputs(adapters, module, input, input);
                MultiplyScaled(backend, input, y.SliceColumns(_columns[i].FirstColumn, _columns[i].ColumnCount), Slices[i], scratch);
            }

            backend.ApplyAdapters(restore, _columns.AsSpan(i, 1), input, y);
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

    private void Replace(IComputeBackend backend, LoraBatch adapters, TensorView x, TensorView y)
    {
        foreach (ref readonly LoraGroup group in adapters.Groups)
        {
            foreach (ref readonly LoraEntry entry in adapters.EntriesOf(group))
            {
                foreach (ModuleColumns columns in _columns)
                {
                    if (entry.Adapter.Replacement(columns.Module) is { } weight)
                    {
                        TensorView output = y.SliceColumns(columns.FirstColumn, columns.ColumnCount);
                        backend.MatMul(x.SliceRows(group.FirstRow, group.RowCount), weight, output.SliceRows(group.FirstRow, group.RowCount));
                    }
                }
            }
        }
    }

    private bool ScalesInput(LoraBatch restore, LoraBatch adapters)
    {
        foreach (ModuleColumns columns in _columns)
        {
            if (ScalesInput(restore, columns.Module) || ScalesInput(adapters, columns.Module))
            {
                return true;
            }
        }

        return false;
    }

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
