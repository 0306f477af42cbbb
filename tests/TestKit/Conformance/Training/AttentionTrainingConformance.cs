using InferenceServer.Tensors;
using InferenceServer.Tensors.Steps;
using InferenceServer.TestKit.ReferenceMaths;
using Xunit;

namespace InferenceServer.TestKit.Conformance.Training;

/// <summary>Back through attention and rotary embedding.</summary>
public abstract class AttentionTrainingConformance : TrainingConformance
{
    private static readonly int[] s_lengths = [1, 5, 33, 50];

    [Theory]
    [InlineData(1, 1, 4, 0, 0f)]
    [InlineData(4, 2, 8, 0, 0f)]
    [InlineData(6, 2, 5, 7, 0f)]
    [InlineData(2, 1, 40, 0, 3f)]
    [InlineData(3, 3, 16, 20, 2f)]
    [InlineData(1, 1, 130, 0, 0f)]
    public void Attention(int heads, int kvHeads, int headSize, int window, float softCap)
    {
        AttentionParameters parameters = new(heads, kvHeads, headSize, 1 / MathF.Sqrt(headSize), softCap, window);
        StepSequence[] sequences = Sequences();
        int rows = s_lengths.Sum();
        HostTensor q = HostTensor.Random(rows, heads * headSize, 1, 2);
        HostTensor k = HostTensor.Random(rows, kvHeads * headSize, 2, 2);
        HostTensor v = HostTensor.Random(rows, kvHeads * headSize, 3);
        HostTensor dy = HostTensor.Random(rows, heads * headSize, 4, 0.5f);
        HostTensor old = HostTensor.Random(rows, heads * headSize, 5);
        HostTensor oldKeys = HostTensor.Random(rows, kvHeads * headSize, 6);
        using GuardedTensor queries = Put(q);
        using GuardedTensor keys = Put(k);
        using GuardedTensor values = Put(v);
        using GuardedTensor gradient = Put(dy);
        using GuardedTensor dq = Put(old);
        using GuardedTensor dk = Put(oldKeys);
        using GuardedTensor dv = Put(oldKeys);

        Training.AttentionBackward(
            queries.View, keys.View, values.View, sequences, parameters, gradient.View, dq.View, dk.View, dv.View);

        double Loss(double[] newQ, double[] newK, double[] newV) => WeightedAttention(newQ, newK, newV, parameters, dy);
        FiniteDifferences.AssertGradient("dq", q, Added(old, dq), moved => Loss(moved, k.Wide(), v.Wide()));
        FiniteDifferences.AssertGradient("dk", k, Added(oldKeys, dk), moved => Loss(q.Wide(), moved, v.Wide()));
        FiniteDifferences.AssertGradient("dv", v, Added(oldKeys, dv), moved => Loss(q.Wide(), k.Wide(), moved));
    }

    [Theory]
    [InlineData(8, 8)]
    [InlineData(10, 6)]
    [InlineData(64, 64)]
    public void Rope(int headSize, int rotarySize)
    {
        const int Positions = 16;
        int half = rotarySize / 2;
        int[] positions = [3, 0, 15, 7, 7, 1, 2];
        HostTensor angles = HostTensor.Random(Positions, half, 4, 3);
        HostTensor x = HostTensor.Random(positions.Length, 3 * headSize, 1);
        HostTensor dy = HostTensor.Random(positions.Length, 3 * headSize, 2);
        using DeviceBuffer cos = Upload(Backend, [.. angles.Values.Select(MathF.Cos)]);
        using DeviceBuffer sin = Upload(Backend, [.. angles.Values.Select(MathF.Sin)]);
        using GuardedTensor gradient = Put(dy);

        Training.RopeBackward(new RopeTable(cos, sin, rotarySize, Positions), headSize, positions, gradient.View);

        FiniteDifferences.AssertGradient("dx", x, gradient.Read(), moved =>
        {
            double[] y = [.. moved];
            for (int pair = 0; pair < positions.Length * 3 * half; pair++)
            {
                (int head, int i) = (pair / half, pair % half);
                int at = (head * headSize) + i;
                double angle = angles[positions[head / 3], i];
                y[at] = (moved[at] * Math.Cos(angle)) - (moved[at + half] * Math.Sin(angle));
                y[at + half] = (moved[at + half] * Math.Cos(angle)) + (moved[at] * Math.Sin(angle));
            }

            return FiniteDifferences.Weighted(y, dy);
        });
    }

    [Fact]
    public void A_part_of_a_sequence_is_refused()
    {
        AttentionParameters parameters = new(1, 1, 4, 1, 0, 0);
        using GuardedTensor x = new(Backend, 3, 4);

        Assert.Throws<ArgumentException>(() => Backward(new StepSequence(0, 2, 1, 0)));
        Assert.Throws<ArgumentException>(() => Backward(new StepSequence(1, 3, 0, 0)));
        using RopeTable16 table = new(Backend);
        Assert.Throws<ArgumentException>(() => Training.RopeBackward(table.Table, 4, [0, 1, 16], x.View));
        Assert.Throws<ArgumentException>(() => Training.RopeBackward(table.Table, 4, [0, 1], x.View));

        void Backward(StepSequence sequence) =>
            Training.AttentionBackward(x.View, x.View, x.View, [sequence], parameters, x.View, x.View, x.View, x.View);
    }

    private static StepSequence[] Sequences()
    {
        int first = 0;
        return [.. s_lengths.Select(length =>
        {
            first += length;
            return new StepSequence(first - length, length, 0, 0);
        })];
    }

    private static double WeightedAttention(double[] q, double[] k, double[] v, AttentionParameters parameters, HostTensor weights)
    {
        (int size, int columns, int kvColumns) = (parameters.HeadSize, parameters.Heads * parameters.HeadSize, parameters.KvHeads * parameters.HeadSize);
        double sum = 0;
        foreach (StepSequence sequence in Sequences())
        {
            for (int item = 0; item < sequence.RowCount * parameters.Heads; item++)
            {
                (int t, int head) = (item / parameters.Heads, item % parameters.Heads);
                int query = ((sequence.FirstRow + t) * columns) + (head * size);
                int kvHead = head / (parameters.Heads / parameters.KvHeads) * size;
                double total = 0;
                double weighted = 0;
                for (int j = parameters.Window > 0 ? Math.Max(0, t - parameters.Window + 1) : 0; j <= t; j++)
                {
                    int key = ((sequence.FirstRow + j) * kvColumns) + kvHead;
                    (double score, double product) = (0, 0);
                    for (int i = 0; i < size; i++)
                    {
                        score += q[query + i] * k[key + i];
                        product += weights.Values[query + i] * v[key + i];
                    }

                    score *= parameters.Scale;
                    double weight = Math.Exp(parameters.SoftCap > 0 ? parameters.SoftCap * Math.Tanh(score / parameters.SoftCap) : score);
                    total += weight;
                    weighted += weight * product;
                }

                sum += weighted / total;
            }
        }

        return sum;
    }

    /// <summary>A table for 16 positions.</summary>
    private sealed class RopeTable16 : IDisposable
    {
        private readonly DeviceBuffer _numbers;

        public RopeTable16(IComputeBackend backend)
        {
            _numbers = backend.Allocate(16 * 2 * sizeof(float), "table");
            Table = new RopeTable(_numbers, _numbers, 4, 16);
        }

        public RopeTable Table { get; }

        public void Dispose() => _numbers.Dispose();
    }
}
