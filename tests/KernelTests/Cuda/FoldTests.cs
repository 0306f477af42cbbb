using InferenceServer.Cuda;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Adapters;
using InferenceServer.TestKit.Cuda;
using InferenceServer.TestKit.ReferenceMaths;
using Xunit;

namespace InferenceServer.KernelTests.Cuda;

/// <summary>Adapters folded into weights on the device.</summary>
[Collection(StandInCollection.Name)]
public sealed class FoldTests : IDisposable
{
    private const int Rows = 43;
    private const int Columns = 270;

    public void Dispose() => StandIn.Reset();

    [StandInTheory]
    [InlineData(WeightFormat.F32, WeightFormat.F32)]
    [InlineData(WeightFormat.BF16, WeightFormat.F32)]
    [InlineData(WeightFormat.Int8, WeightFormat.F32)]
    [InlineData(WeightFormat.NF4, WeightFormat.F32)]
    [InlineData(WeightFormat.F32, WeightFormat.BF16)]
    [InlineData(WeightFormat.BF16, WeightFormat.BF16)]
    [InlineData(WeightFormat.Int8, WeightFormat.BF16)]
    [InlineData(WeightFormat.NF4, WeightFormat.BF16)]
    public void Changed_rows_are_the_formula_and_all_others_their_old_values(WeightFormat from, WeightFormat to)
    {
        using CudaBackend backend = CudaTestBackend.Create();
        using WeightMatrix original = Pack(backend, from);
        float[] kept = new float[Rows * Columns];
        backend.ReadMatrix(original, 0, kept);
        RowChange[] changes =
        [
            new RowChange(3, 17, new LowRankDelta { A = Matrix(5, Columns, 2), B = Matrix(17, 5, 3), OutputScale = HostTensor.Random(1, 17, 4).Values }),
            new RowChange(20, 11, new LowRankDelta { InputScale = HostTensor.Random(1, Columns, 5).Values }),
            new RowChange(42, 1, new LowRankDelta { A = Matrix(1, Columns, 6), B = Matrix(1, 1, 7) }),
        ];

        float[] folded = Schedules.SameBitsUnderAll(() =>
        {
            using WeightMatrix matrix = backend.Fold(original, changes, to, "folded");
            Assert.Equal(to, matrix.Format);
            float[] values = new float[Rows * Columns];
            backend.ReadMatrix(matrix, 0, values);
            return values;
        });

        double[] expected = Reference(kept, changes);
        for (int i = 0; i < folded.Length; i++)
        {
            double size = Math.Max(1, Math.Abs(expected[i]));
            Assert.True(
                Math.Abs(folded[i] - expected[i]) <= (to == WeightFormat.BF16 ? Math.Pow(2, -8) : 2e-6) * size,
                $"row {i / Columns}, column {i % Columns}: {folded[i]} instead of {expected[i]}");
        }
    }

    [StandInFact]
    public void Too_little_memory_half_way_leaves_nothing_behind()
    {
        using CudaBackend backend = CudaTestBackend.Create();
        using WeightMatrix original = Pack(backend, WeightFormat.BF16);
        RowChange[] changes = [new RowChange(0, Rows, new LowRankDelta { A = Matrix(9, Columns, 2), B = Matrix(Rows, 9, 3) })];
        using (backend.Fold(original, changes, WeightFormat.F32, "folded"))
        {
            // Whatever is made once is made.
        }

        long before = StandIn.Counters.LiveBytes;
        for (int nth = 1; nth <= 3; nth++)
        {
            StandIn.Fail(DriverCall.Allocate, nth, code: 2);
            Assert.Throws<DeviceMemoryException>(() => backend.Fold(original, changes, WeightFormat.F32, "folded"));
            Assert.Equal(before, StandIn.Counters.LiveBytes);
        }
    }

    [StandInFact]
    public void Folding_into_a_quantised_format_is_refused()
    {
        using CudaBackend backend = CudaTestBackend.Create();
        using WeightMatrix original = Pack(backend, WeightFormat.BF16);

        Assert.Throws<ArgumentException>(() => backend.Fold(original, [], WeightFormat.NF4, "folded"));
    }

    private static WeightMatrix Pack(CudaBackend backend, WeightFormat format)
    {
        HostTensor weight = HostTensor.Random(Rows, Columns, 1);
        return backend.CreateMatrix(
            Rows, Columns, format, "weight", (first, target) => weight.Values.AsSpan(first * Columns, target.Length).CopyTo(target));
    }

    private static HostMatrix Matrix(int rows, int columns, int seed) => new(rows, columns, HostTensor.Random(rows, columns, seed).Values);

    private static double[] Reference(float[] kept, RowChange[] changes)
    {
        double[] expected = [.. kept.Select(value => (double)value)];
        foreach (RowChange change in changes)
        {
            LowRankDelta delta = change.Delta;
            for (int row = 0; row < change.RowCount; row++)
            {
                for (int column = 0; column < Columns; column++)
                {
                    ref double value = ref expected[((change.FirstRow + row) * Columns) + column];
                    value *= (delta.OutputScale?[row] ?? 1f) * (double)(delta.InputScale?[column] ?? 1f);
                    for (int r = 0; r < delta.Rank; r++)
                    {
                        value += (double)delta.B!.Values[(row * delta.Rank) + r] * delta.A!.Values[(r * Columns) + column];
                    }
                }
            }
        }

        return expected;
    }
}
