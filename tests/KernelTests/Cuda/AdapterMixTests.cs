using InferenceServer.Cuda;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Adapters;
using InferenceServer.Tensors.Steps;
using InferenceServer.TestKit.Conformance;
using InferenceServer.TestKit.Cuda;
using InferenceServer.TestKit.ReferenceMaths;
using Xunit;

namespace InferenceServer.KernelTests.Cuda;

/// <summary>Whatever adapters do, in one batch.</summary>
[Collection(StandInCollection.Name)]
public sealed class AdapterMixTests
{
    private const int Inputs = 75;
    private static readonly ModuleColumns[] s_modules = [new(0, 0, 40), new(1, 40, 5), new(2, 45, 70)];

    /// <summary>Rows and tiles with stacks, gates and ranks beyond what is looked up at once.</summary>
    [StandInFact]
    public void Rows_and_tiles_in_one_batch_are_the_reference()
    {
        using CudaBackend backend = CudaTestBackend.Create(CudaProducts.Auto);
        LowRankDelta?[][] deltas =
        [
            [Delta(130, 40, 1), Gated(Delta(3, 5, 2), [1, 2], 1), Delta(4, 70, 3) with { OutputScale = HostTensor.Random(1, 70, 9).Values }],
            [Gated(Delta(7, 40, 4), [3, 4], 2), null, Delta(2, 70, 5) with { OutputBias = HostTensor.Random(1, 70, 8).Values }],
            [Delta(70, 40, 6), Delta(1, 5, 7), null],
            [Delta(9, 40, 8), null, Delta(85, 70, 9) with { OutputBias = HostTensor.Random(1, 70, 7).Values }],
        ];
        DeviceAdapter[] adapters =
            [.. deltas.Select(delta => backend.CreateAdapter(new AdapterWeights("mix@0", delta), WeightFormat.BF16))];
        LoraBatch batch = new();
        List<(int Adapter, float Weight)>[] rows = [.. Enumerable.Range(0, 28).Select(_ => new List<(int, float)>())];
        AddGroup(1, 2, (0, 1f));
        AddGroup(3, 1, (1, 0.5f), (0, 0.75f));
        AddGroup(5, 18, (2, 1f), (3, -0.5f));
        AddGroup(24, 2, (3, 1f), (1, 1f), (2, 0.25f));
        HostTensor x = HostTensor.Random(28, Inputs, 10);
        HostTensor y = HostTensor.Random(28, 115, 11);
        double[] expected = [.. y.Values.Select(value => (double)value)];
        for (int row = 0; row < 28; row++)
        {
            foreach (ModuleColumns module in s_modules)
            {
                (LowRankDelta, float)[] stack = [.. rows[row]
                    .Where(entry => deltas[entry.Adapter][module.Module] is not null)
                    .Select(entry => (AdapterReference.Rounded(deltas[entry.Adapter][module.Module]!), entry.Weight))];
                int column = (row * 115) + module.FirstColumn;
                AdapterReference.Apply(x.Row(row), y.Values.AsSpan(column, module.ColumnCount), stack).CopyTo(expected, column);
            }
        }

        float[] actual = Schedules.SameBitsUnderAll(() =>
        {
            using GuardedTensor input = new(backend, x);
            using GuardedTensor result = new(backend, y);
            backend.ApplyAdapters(batch, s_modules, input.View, result.View);
            return result.Read();
        });

        Closeness.AssertClose(expected, actual, 5e-7, "the mix");
        Array.ForEach(adapters, adapter => adapter.Dispose());

        void AddGroup(int firstRow, int count, params (int Adapter, float Weight)[] stack)
        {
            batch.BeginGroup(firstRow, count);
            foreach ((int adapter, float weight) in stack)
            {
                batch.AddEntry(adapters[adapter], weight);
            }

            for (int row = firstRow; row < firstRow + count; row++)
            {
                rows[row].AddRange(stack);
            }
        }
    }

    private static HostMatrix Matrix(int rows, int columns, int seed) => new(rows, columns, HostTensor.Random(rows, columns, seed).Values);

    private static LowRankDelta Delta(int rank, int outputs, int seed) => new() { A = Matrix(rank, Inputs, 100 + seed), B = Matrix(outputs, rank, 200 + seed) };

    private static LowRankDelta Gated(LowRankDelta delta, int[] blocks, int topK) =>
        delta with { Gate = new RankGate { BlockRanks = blocks, Weight = Matrix(blocks.Length, Inputs, 300 + blocks[0]), TopK = topK } };
}
