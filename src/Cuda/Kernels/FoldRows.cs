using InferenceServer.Cuda.Compilation;
using InferenceServer.Cuda.Launching;
using InferenceServer.Cuda.Memory;
using InferenceServer.Cuda.Weights;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Adapters;

namespace InferenceServer.Cuda.Kernels;

/// <summary>Launches FoldRows.cu: by a stream of its own, beside running steps, and done when the call returns. Any thread.</summary>
internal sealed class FoldRows
{
    private const int Threads = 256;
    private const int RowsOfBlock = 8;

    // The driver's limit of a grid's second side.
    private const int MaxBlockRows = 65535;

    private readonly CudaMachine _machine;

    public FoldRows(CudaMachine machine) => _machine = machine;

    /// <summary>See <see cref="IFoldingBackend.Fold"/>.</summary>
    public CudaWeightMatrix Run(CudaWeightMatrix original, IReadOnlyList<RowChange> changes, WeightFormat format, string label)
    {
        if (format.IsQuantized())
        {
            throw new ArgumentException($"'{label}' cannot be folded in {format}: folded weights are F32 or BF16");
        }

        _machine.Device.MakeCurrent();
        CudaWeightMatrix folded = CudaWeightMatrix.Zeros(_machine, original.Rows, original.Columns, format, label);
        try
        {
            string kernel = $"fold_{original.Format}_{format}".ToLowerInvariant();
            KernelFunction function = _machine.Library["FoldRows.cu"].Function(kernel, Threads);
            using KernelQueue queue = new();
            Launch(queue, function, original, new RowChange(0, original.Rows, new LowRankDelta()), folded);
            foreach (RowChange change in changes)
            {
                Launch(queue, function, original, change, folded);
            }

            return folded;
        }
        catch
        {
            folded.Dispose();
            throw;
        }
    }

    private void Launch(KernelQueue queue, KernelFunction function, CudaWeightMatrix original, RowChange change, CudaWeightMatrix folded)
    {
        using CudaBuffer? outputScale = Upload(change.Delta.OutputScale, "output scale");
        using CudaBuffer? inputScale = Upload(change.Delta.InputScale, "input scale");
        using CudaBuffer? a = Upload(change.Delta.A?.Values, "A");
        using CudaBuffer? b = Upload(change.Delta.B?.Values, "B");
        for (int first = 0; first < change.RowCount; first += MaxBlockRows * RowsOfBlock)
        {
            int rows = Math.Min(MaxBlockRows * RowsOfBlock, change.RowCount - first);
            queue.Launch(
                function,
                new Grid(Grid.Cover(original.Columns, Threads), Grid.Cover(rows, RowsOfBlock)),
                original.Address,
                original.ScaleAddress,
                original.Layout.Stride,
                outputScale is null ? 0UL : outputScale.Address + ((ulong)first * sizeof(float)),
                inputScale?.Address ?? 0UL,
                a?.Address ?? 0UL,
                b is null ? 0UL : b.Address + ((ulong)first * (ulong)change.Delta.Rank * sizeof(float)),
                change.Delta.Rank,
                change.FirstRow + first,
                rows,
                original.Columns,
                folded.Address,
                folded.Layout.Stride);
        }

        // Before what was uploaded is freed.
        queue.Stream().Synchronize();
    }

    private unsafe CudaBuffer? Upload(float[]? values, string what)
    {
        if (values is null)
        {
            return null;
        }

        CudaBuffer buffer = new(_machine.Device, (long)values.Length * sizeof(float), $"{what} to be folded");
        try
        {
            fixed (float* first = values)
            {
                _machine.Copies.ToDevice(first, buffer.ByteCount, buffer.Address);
            }

            return buffer;
        }
        catch
        {
            buffer.Dispose();
            throw;
        }
    }
}
