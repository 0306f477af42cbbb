using InferenceServer.Tensors;
using InferenceServer.Tensors.Adapters;
using InferenceServer.Tensors.Steps;
using InferenceServer.TestKit.ReferenceMaths;
using Xunit;

namespace InferenceServer.TestKit.Conformance;

/// <summary>Adapters: packing, and their changes of linear layers, embeddings, norms and the output head.</summary>
public abstract class AdapterConformance : BackendConformance
{
    private const int Inputs = 75;
    private const int Outputs = 107;

    [Theory]
    [InlineData(WeightFormat.F32)]
    [InlineData(WeightFormat.BF16)]
    public void Groups_of_any_rank_weight_and_stack_are_the_reference(WeightFormat format)
    {
        int[] ranks = [1, 2, 3, 4, 5, 8, 16, 17, 64];
        LowRankDelta[] deltas = [.. ranks.Select((rank, i) => LowRank(rank, 100 + i, scaled: i % 3 == 1, biased: i % 3 == 2))];
        DeviceAdapter[] adapters = [.. deltas.Select(delta => Create(format, delta))];
        HostTensor x = HostTensor.Random(60, Inputs, 1);
        HostTensor y = HostTensor.Random(60, Outputs, 2);
        double[] expected = [.. y.Values.Select(value => (double)value)];
        LoraBatch batch = new();
        int row = 2;
        for (int group = 0; group < ranks.Length; group++)
        {
            int rows = group == 8 ? 37 : 1 + (group % 3);
            int second = (group + 4) % ranks.Length;
            batch.BeginGroup(row, rows);
            batch.AddEntry(adapters[group], 1 - (group * 0.1f));
            batch.AddEntry(adapters[second], 0.5f);
            (LowRankDelta, float)[] stack = [(Kept(deltas[group], format), 1 - (group * 0.1f)), (Kept(deltas[second], format), 0.5f)];
            for (int i = 0; i < rows; i++, row++)
            {
                AdapterReference.Apply(x.Row(row), y.Row(row), stack).CopyTo(expected, row * Outputs);
            }
        }

        float[] actual = Apply(batch, x, y);

        Closeness.AssertClose(expected, actual, 5e-7, $"{format} adapters");
        foreach (DeviceAdapter adapter in adapters)
        {
            adapter.Dispose();
        }
    }

    [Theory]
    [InlineData(WeightFormat.F32)]
    [InlineData(WeightFormat.BF16)]
    public void A_row_has_the_same_bits_alone_and_in_a_group_of_any_size(WeightFormat format)
    {
        using DeviceAdapter adapter = Create(format, LowRank(19, 3, scaled: true, biased: true));
        using DeviceAdapter other = Create(format, LowRank(8, 4, scaled: false, biased: false));
        HostTensor x = HostTensor.Random(100, Inputs, 1);
        HostTensor y = HostTensor.Random(100, Outputs, 2);
        LoraBatch one = new();
        one.BeginGroup(0, 100);
        one.AddEntry(adapter, 0.7f);
        one.AddEntry(other, 1);
        LoraBatch many = new();
        for (int row = 0; row < 100; row++)
        {
            many.BeginGroup(row, 1);
            many.AddEntry(adapter, 0.7f);
            many.AddEntry(other, 1);
        }

        Closeness.AssertSameBits(Apply(one, x, y), Apply(many, x, y), "a group of 100 against 100 groups");
    }

    [Theory]
    [InlineData(WeightFormat.F32)]
    [InlineData(WeightFormat.BF16)]
    public void Few_rows_of_one_adapter_have_the_bits_of_many_groups(WeightFormat format)
    {
        // One group of 20 rows is too little for all threads to take whole units; twenty groups are enough.
        using DeviceAdapter adapter = Create(format, LowRank(77, 3, scaled: true, biased: true));
        using DeviceAdapter other = Create(format, LowRank(6, 4, scaled: true, biased: false));
        HostTensor x = HostTensor.Random(20, Inputs, 1);
        HostTensor y = HostTensor.Random(20, Outputs, 2);
        LoraBatch one = new();
        one.BeginGroup(0, 20);
        one.AddEntry(adapter, 0.7f);
        one.AddEntry(other, 1);
        LoraBatch many = new();
        for (int row = 0; row < 20; row++)
        {
            many.BeginGroup(row, 1);
            many.AddEntry(adapter, 0.7f);
            many.AddEntry(other, 1);
        }

        Closeness.AssertSameBits(Apply(one, x, y), Apply(many, x, y), "a group of 20 against 20 groups");
    }

    [Theory]
    [InlineData(WeightFormat.F32)]
    [InlineData(WeightFormat.BF16)]
    public void Modules_side_by_side_have_the_bits_of_one_at_a_time(WeightFormat format)
    {
        LowRankDelta narrow = new() { A = Matrix(33, Inputs, 7), B = Matrix(41, 33, 8), OutputBias = HostTensor.Random(1, 41, 9).Values };
        using DeviceAdapter adapter = Create(format, LowRank(16, 3, scaled: true, biased: false), null, narrow);
        using DeviceAdapter other = Create(format, null, null, LowRank(9, 5, scaled: false, biased: true) with { B = Matrix(41, 9, 6), OutputBias = null });
        HostTensor x = HostTensor.Random(40, Inputs, 1);
        HostTensor y = HostTensor.Random(40, Outputs + 5 + 41, 2);
        ModuleColumns[] modules = [new(0, 0, Outputs), new(1, Outputs, 5), new(2, Outputs + 5, 41)];
        foreach (int rows in new[] { 1, 3, 39 })
        {
            LoraBatch batch = new();
            batch.BeginGroup(0, rows);
            batch.AddEntry(adapter, 1);
            batch.BeginGroup(rows, 1);
            batch.AddEntry(other, -0.5f);
            using GuardedTensor input = new(Backend, x);
            using GuardedTensor together = new(Backend, y);
            using GuardedTensor apart = new(Backend, y);

            Backend.ApplyAdapters(batch, modules, input.View, together.View);
            foreach (ModuleColumns columns in modules)
            {
                TensorView view = apart.View.SliceColumns(columns.FirstColumn, columns.ColumnCount);
                Backend.ApplyAdapters(batch, [columns with { FirstColumn = 0 }], input.View, view);
            }

            Closeness.AssertSameBits(apart.Read(), together.Read(), $"{rows} rows");
            Assert.NotEqual(y.Values, together.Read());
        }
    }

    [Fact]
    public void Rows_without_an_adapter_and_modules_left_alone_keep_their_bits()
    {
        using DeviceAdapter adapter = Create(WeightFormat.F32, null, LowRank(4, 1, scaled: true, biased: true));
        HostTensor y = HostTensor.Random(3, Outputs, 2);
        LoraBatch batch = new();
        batch.BeginGroup(1, 2);
        batch.AddEntry(adapter, 1);

        Assert.False(adapter.Changes(0));
        Assert.True(adapter.Changes(1));
        Assert.False(adapter.Changes(2));
        Closeness.AssertSameBits(y.Values, Apply(batch, HostTensor.Random(3, Inputs, 1), y), "module 0");
    }

    [Fact]
    public void Input_scales_are_weighted_and_other_rows_copied()
    {
        float[] scale = HostTensor.Random(1, Inputs, 5).Values;
        using DeviceAdapter adapter = Create(WeightFormat.F32, new LowRankDelta { InputScale = scale });
        HostTensor x = HostTensor.Random(4, Inputs, 6);
        double[] expected = [.. x.Values.Select((value, i) => i / Inputs == 2 ? value * (1 + (0.5 * (scale[i % Inputs] - 1))) : value)];
        LoraBatch batch = new();
        batch.BeginGroup(2, 1);
        batch.AddEntry(adapter, 0.5f);

        float[] apart = Run(Backend, x, 4, Inputs, (input, output) => Backend.ScaleInputs(batch, 0, input, output));
        float[] inPlace = RunInPlace(Backend, x, view => Backend.ScaleInputs(batch, 0, view, view));

        Assert.True(adapter.ScalesInput(0));
        Closeness.AssertClose(expected, apart, 1e-7, "scaled inputs");
        Closeness.AssertSameBits(apart, inPlace, "in place");
        Closeness.AssertSameBits(x.Row(0), apart.AsSpan(0, Inputs), "another row");
    }

    [Theory]
    [InlineData(WeightFormat.F32)]
    [InlineData(WeightFormat.BF16)]
    public void Embeddings_take_replacements_replaced_tokens_and_low_rank_columns(WeightFormat format)
    {
        const int Vocabulary = 50;
        HostTensor table = HostTensor.Random(Vocabulary, Outputs, 1);
        HostTensor replacement = HostTensor.Random(Vocabulary, Outputs, 2);
        HostTensor replaced = HostTensor.Random(2, Outputs, 3);
        LowRankDelta lowRank = new() { A = Matrix(6, Vocabulary, 4), B = Matrix(Outputs, 6, 5) };
        LowRankDelta kept = Kept(lowRank, format);
        using WeightMatrix matrix = Pack(Backend, table, WeightFormat.F32);
        using DeviceAdapter replacing = Create(format, new LowRankDelta { Replacement = new HostMatrix(Vocabulary, Outputs, replacement.Values) });
        using DeviceAdapter tokens = Create(
            format, lowRank with { ReplacedRows = new ReplacedRows([7, 49], new HostMatrix(2, Outputs, replaced.Values)) });
        StepInputs step = new(8, 1);
        step.AddSequence([3, 7, 8, 49, 7], 0, [0]);
        step.Lora.BeginGroup(0, 1);
        step.Lora.AddEntry(replacing, 1);
        step.Lora.BeginGroup(1, 2);
        step.Lora.AddEntry(tokens, 1);
        step.Lora.BeginGroup(4, 1);
        step.Lora.AddEntry(tokens, 0.25f);
        Backend.BeginStep(step);
        HostTensor replacementKept = format == WeightFormat.F32 ? replacement : replacement.RoundedToBFloat16();
        double[] expected = new double[5 * Outputs];
        for (int h = 0; h < Outputs; h++)
        {
            expected[h] = replacementKept[3, h];
            expected[Outputs + h] = replaced[0, h] + Column(kept, 7, h);
            expected[(2 * Outputs) + h] = table[8, h] + Column(kept, 8, h);
            expected[(3 * Outputs) + h] = table[49, h];
            expected[(4 * Outputs) + h] = table[7, h] + (0.25 * (replaced[0, h] - table[7, h])) + (0.25 * Column(kept, 7, h));
        }

        using GuardedTensor y = new(Backend, 5, Outputs);
        Backend.Embed(matrix, y.View);
        Backend.ApplyEmbeddingAdapters(0, y.View);

        Closeness.AssertClose(expected, y.Read(), 3e-7, $"{format} embeddings");
        Assert.True(tokens.ReplacesRows(0));
        Assert.NotNull(replacing.Replacement(0));
    }

    [Fact]
    public void Replaced_tokens_of_the_output_head_are_products_with_the_new_rows()
    {
        HostTensor values = HostTensor.Random(2, Inputs, 3);
        using DeviceAdapter adapter = Create(
            WeightFormat.BF16, new LowRankDelta { ReplacedRows = new ReplacedRows([0, 106], new HostMatrix(2, Inputs, values.Values)) });
        HostTensor x = HostTensor.Random(3, Inputs, 1);
        HostTensor y = HostTensor.Random(3, Outputs, 2);
        double[] products = Reference.MatMul(x, values);
        double[] expected = [.. y.Values.Select(value => (double)value)];
        expected[Outputs] = products[2];
        expected[Outputs + 106] = products[3];
        LoraBatch batch = new();
        batch.BeginGroup(1, 1);
        batch.AddEntry(adapter, 1);

        using GuardedTensor input = new(Backend, x);
        using GuardedTensor output = new(Backend, y);
        Backend.ApplyReplacedRows(batch, 0, input.View, output.View);

        Closeness.AssertClose(expected, output.Read(), 2e-7, "replaced rows");
    }

    [Fact]
    public void Norm_weights_and_biases_are_buffers()
    {
        float[] weight = HostTensor.Random(1, 40, 1).Values;
        float[] bias = HostTensor.Random(1, 40, 2).Values;
        using DeviceAdapter adapter = Create(
            WeightFormat.BF16, new LowRankDelta { Replacement = new HostMatrix(1, 40, weight), OutputBias = bias });

        float[] read = new float[40];
        Backend.Read(new TensorView(adapter.NormWeight(0)!, 1, 40), read);
        Closeness.AssertSameBits(weight, read, "norm weight");
        Backend.Read(new TensorView(adapter.NormBias(0)!, 1, 40), read);
        Closeness.AssertSameBits(bias, read, "norm bias");
        Assert.Null(adapter.NormWeight(1));
    }

    [Theory]
    [InlineData(WeightFormat.F32, new[] { 4, 4 }, 2, 1f, false)]
    [InlineData(WeightFormat.F32, new[] { 1, 7, 3 }, 3, 0.5f, true)]
    [InlineData(WeightFormat.F32, new[] { 5, 0, 2, 9 }, 2, 2f, true)]
    [InlineData(WeightFormat.BF16, new[] { 8, 16, 17, 1, 2 }, 1, 1f, false)]
    [InlineData(WeightFormat.BF16, new[] { 3, 3, 3 }, 2, 0.25f, true)]
    public void A_gate_weighs_the_blocks_of_each_row_by_its_own_input(WeightFormat format, int[] ranks, int topK, float temperature, bool biased)
    {
        LowRankDelta routed = Routed(ranks, topK, temperature, biased, 11);
        LowRankDelta plain = LowRank(6, 40, scaled: true, biased: true);
        using DeviceAdapter adapter = Create(format, routed);
        using DeviceAdapter other = Create(format, plain);
        HostTensor x = HostTensor.Random(50, Inputs, 1);
        HostTensor y = HostTensor.Random(50, Outputs, 2);
        LoraBatch batch = new();
        batch.BeginGroup(3, 37);
        batch.AddEntry(adapter, 1);
        batch.BeginGroup(40, 5);
        batch.AddEntry(other, 1);
        batch.BeginGroup(45, 4);
        batch.AddEntry(other, 0.5f);
        batch.AddEntry(adapter, -0.75f);
        double[] expected = [.. y.Values.Select(value => (double)value)];
        for (int row = 3; row < 49; row++)
        {
            (LowRankDelta, float)[] stack = row < 40 ? [(Kept(routed, format), 1f)]
                : row < 45 ? [(Kept(plain, format), 1f)]
                : [(Kept(plain, format), 0.5f), (Kept(routed, format), -0.75f)];
            AdapterReference.Apply(x.Row(row), y.Row(row), stack).CopyTo(expected, row * Outputs);
        }

        float[] actual = Apply(batch, x, y);

        Closeness.AssertClose(expected, actual, 5e-7, $"{format} routed");
        Closeness.AssertSameBits(y.Row(0), actual.AsSpan(0, Outputs), "a row of nobody");

        // Rows must differ in what they choose, or the gate would prove nothing.
        Assert.True(Enumerable.Range(0, 50).Select(row => AdapterReference.BlockWeights(routed.Gate!, x.Row(row))[0]).Distinct().Count() > 1);
    }

    [Theory]
    [InlineData(WeightFormat.F32, 3)]
    [InlineData(WeightFormat.BF16, 2)]
    public void A_routed_row_has_the_same_bits_alone_and_in_a_group_of_any_size(WeightFormat format, int topK)
    {
        using DeviceAdapter adapter = Create(format, Routed([5, 2, 12], topK, 0.7f, biased: true, 3));
        HostTensor x = HostTensor.Random(100, Inputs, 1);
        HostTensor y = HostTensor.Random(100, Outputs, 2);
        LoraBatch one = new();
        one.BeginGroup(0, 100);
        one.AddEntry(adapter, 0.7f);
        LoraBatch many = new();
        for (int row = 0; row < 100; row++)
        {
            many.BeginGroup(row, 1);
            many.AddEntry(adapter, 0.7f);
        }

        Closeness.AssertSameBits(Apply(one, x, y), Apply(many, x, y), "a group of 100 against 100 groups");
    }

    [Fact]
    public void A_gate_that_is_sure_of_a_block_is_that_adapter_alone()
    {
        LowRankDelta left = LowRank(3, 1, scaled: false, biased: false);
        LowRankDelta right = LowRank(5, 4, scaled: false, biased: false);
        LowRankDelta both = Joined(left, right) with
        {
            Gate = new RankGate { BlockRanks = [3, 5], Weight = new HostMatrix(2, Inputs, new float[2 * Inputs]), Bias = [0, 200], TopK = 2 },
        };
        using DeviceAdapter routed = Create(WeightFormat.F32, both);
        using DeviceAdapter alone = Create(WeightFormat.F32, right);
        HostTensor x = HostTensor.Random(9, Inputs, 1);
        HostTensor y = HostTensor.Random(9, Outputs, 2);

        Closeness.AssertSameBits(Apply(Whole(alone), x, y), Apply(Whole(routed), x, y), "the second adapter");

        static LoraBatch Whole(DeviceAdapter adapter)
        {
            LoraBatch batch = new();
            batch.BeginGroup(0, 9);
            batch.AddEntry(adapter, 1);
            return batch;
        }
    }

    [Fact]
    public void A_gate_that_does_not_fit_is_refused_by_name()
    {
        LowRankDelta sound = Routed([2, 2], 2, 1f, biased: true, 1);
        RankGate gate = sound.Gate!;
        foreach (RankGate wrong in new[]
        {
            gate with { BlockRanks = [2, 3] },
            gate with { BlockRanks = [5, -1] },
            gate with { BlockRanks = [4] },
            gate with { Weight = Matrix(2, Inputs + 1, 1) },
            gate with { Weight = new HostMatrix(2, Inputs, new float[3]) },
            gate with { Bias = [1] },
            gate with { Temperature = 0 },
            gate with { Temperature = float.PositiveInfinity },
            gate with { TopK = 0 },
            gate with { TopK = 3 },
        })
        {
            ArgumentException exception = Assert.Throws<ArgumentException>(() => Create(WeightFormat.F32, sound with { Gate = wrong }).Dispose());
            Assert.Contains("'test@0'", exception.Message, StringComparison.Ordinal);
        }

        Assert.Throws<ArgumentException>(() => Create(WeightFormat.F32, new LowRankDelta { Gate = gate }).Dispose());

        using WeightMatrix table = Pack(Backend, HostTensor.Random(Inputs, Outputs, 1), WeightFormat.F32);
        using DeviceAdapter adapter = Create(WeightFormat.F32, sound);
        StepInputs step = new(1, 1);
        step.AddSequence([3], 0, [0]);
        step.Lora.BeginGroup(0, 1);
        step.Lora.AddEntry(adapter, 1);
        Backend.BeginStep(step);
        using GuardedTensor y = new(Backend, 1, Outputs);
        Assert.Throws<ArgumentException>(() => Backend.ApplyEmbeddingAdapters(0, y.View));
    }

    [Fact]
    public void Contradicting_shapes_are_refused_by_name()
    {
        LowRankDelta wrongRank = new() { A = Matrix(4, Inputs, 1), B = Matrix(Outputs, 5, 1) };
        LowRankDelta wrongScale = new() { A = Matrix(4, Inputs, 1), B = Matrix(Outputs, 4, 1), OutputScale = new float[3] };
        LowRankDelta half = new() { A = Matrix(4, Inputs, 1) };

        foreach (LowRankDelta delta in new[] { wrongRank, wrongScale, half })
        {
            ArgumentException exception = Assert.Throws<ArgumentException>(() => Create(WeightFormat.F32, delta).Dispose());
            Assert.Contains("'test@0'", exception.Message, StringComparison.Ordinal);
        }

        using DeviceAdapter adapter = Create(WeightFormat.F32, LowRank(4, 1, scaled: false, biased: false));
        LoraBatch batch = new();
        batch.BeginGroup(0, 1);
        batch.AddEntry(adapter, 1);
        Assert.Throws<ArgumentException>(() => Apply(batch, HostTensor.Random(1, Inputs + 1, 1), HostTensor.Random(1, Outputs, 1)));
        Assert.Throws<ArgumentException>(() => Apply(batch, HostTensor.Random(1, Inputs, 1), HostTensor.Random(1, Outputs + 1, 1)));
    }

    [Fact]
    public void The_bytes_of_an_adapter_follow_its_rank_and_format()
    {
        using DeviceAdapter small = Create(WeightFormat.BF16, new LowRankDelta { A = Matrix(8, 128, 1), B = Matrix(64, 8, 1) });
        using DeviceAdapter wide = Create(WeightFormat.F32, new LowRankDelta { A = Matrix(8, 128, 1), B = Matrix(64, 8, 1) });

        Assert.Equal(2 * ((8 * 128) + (64 * 8)), small.ByteCount);
        Assert.Equal(2 * small.ByteCount, wide.ByteCount);
    }

    private static HostMatrix Matrix(int rows, int columns, int seed) => new(rows, columns, HostTensor.Random(rows, columns, seed).Values);

    private static LowRankDelta LowRank(int rank, int seed, bool scaled, bool biased) => new()
    {
        A = Matrix(rank, Inputs, seed),
        B = Matrix(Outputs, rank, seed + 1),
        OutputScale = scaled ? HostTensor.Random(1, Outputs, seed + 2).Values : null,
        OutputBias = biased ? HostTensor.Random(1, Outputs, seed + 3).Values : null,
    };

    private static LowRankDelta Routed(int[] ranks, int topK, float temperature, bool biased, int seed) =>
        LowRank(ranks.Sum(), seed, scaled: false, biased: false) with
        {
            Gate = new RankGate
            {
                BlockRanks = ranks,
                Weight = Matrix(ranks.Length, Inputs, seed + 5),
                Bias = biased ? HostTensor.Random(1, ranks.Length, seed + 6).Values : null,
                Temperature = temperature,
                TopK = topK,
            },
        };

    private static LowRankDelta Joined(LowRankDelta left, LowRankDelta right) => new()
    {
        A = new HostMatrix(left.Rank + right.Rank, Inputs, [.. left.A!.Values, .. right.A!.Values]),
        B = new HostMatrix(
            Outputs,
            left.Rank + right.Rank,
            [.. Enumerable.Range(0, Outputs).SelectMany(row => (float[])[.. left.B!.Row(row), .. right.B!.Row(row)])]),
    };

    private static LowRankDelta Kept(LowRankDelta delta, WeightFormat format) =>
        format == WeightFormat.F32 ? delta : AdapterReference.Rounded(delta);

    private static double Column(LowRankDelta delta, int token, int output)
    {
        double sum = 0;
        for (int r = 0; r < delta.Rank; r++)
        {
            sum += (double)delta.A!.Row(r)[token] * delta.B!.Row(output)[r];
        }

        return sum;
    }

    private DeviceAdapter Create(WeightFormat format, params LowRankDelta?[] deltas) =>
        Backend.CreateAdapter(new AdapterWeights("test@0", deltas), format);

    private float[] Apply(LoraBatch batch, HostTensor x, HostTensor y)
    {
        using GuardedTensor input = new(Backend, x);
        using GuardedTensor output = new(Backend, y);
        Backend.ApplyAdapters(batch, [new ModuleColumns(0, 0, y.Columns)], input.View, output.View);
        return output.Read();
    }
}
