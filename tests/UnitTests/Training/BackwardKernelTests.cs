using System.Runtime.Intrinsics;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Steps;
using InferenceServer.TestKit.Golden;
using Xunit;

namespace InferenceServer.UnitTests.Training;

/// <summary>Every backward operation against finite differences of the forward operation it belongs to.</summary>
[Trait("Category", "Training")]
public sealed class BackwardKernelTests : IDisposable
{
    private readonly GradientBench _bench = new();

    public void Dispose() => _bench.Dispose();

    [Theory]
    [InlineData(1, 1, 1, WeightFormat.F32)]
    [InlineData(3, 31, 17, WeightFormat.F32)]
    [InlineData(130, 33, 65, WeightFormat.F32)]
    [InlineData(5, 300, 7, WeightFormat.F32)]
    [InlineData(3, 31, 33, WeightFormat.BF16)]
    [InlineData(7, 290, 66, WeightFormat.BF16)]
    [InlineData(3, 31, 33, WeightFormat.Int8)]
    [InlineData(3, 31, 33, WeightFormat.NF4)]
    public void A_frozen_weight_passes_the_gradient_on(int rows, int outFeatures, int inFeatures, WeightFormat format)
    {
        float[] weights = _bench.Read(_bench.Tensor(outFeatures, inFeatures, 1, 0.2f, 0));
        using WeightMatrix weight = _bench.Backend.CreateMatrix(
            outFeatures, inFeatures, format, "w", (first, target) => weights.AsSpan(first * inFeatures, target.Length).CopyTo(target));
        TensorView x = _bench.Tensor(rows, inFeatures, 2);
        TensorView y = _bench.Tensor(rows, outFeatures, 0);
        TensorView dy = _bench.Tensor(rows, outFeatures, 3, 0.3f);
        TensorView dx = _bench.Tensor(rows, inFeatures, 0);

        _bench.Training.MatMulBackward(dy, weight, dx);

        _bench.Check("dx", x, dx, () =>
        {
            _bench.Backend.MatMul(x, weight, y);
            return _bench.Weighted(y, dy);
        });
    }

    [Theory]
    [InlineData(1, 1, 1, WeightFormat.Int8)]
    [InlineData(5, 300, 131, WeightFormat.Int8)]
    [InlineData(1, 1, 1, WeightFormat.NF4)]
    [InlineData(5, 300, 131, WeightFormat.NF4)]
    [InlineData(260, 64, 64, WeightFormat.NF4)]
    public void A_quantised_weight_passes_on_what_its_unpacked_weights_do(int rows, int outFeatures, int inFeatures, WeightFormat format)
    {
        float[] weights = _bench.Read(_bench.Tensor(outFeatures, inFeatures, 1, 0.2f, 0));
        WeightMatrix Matrix(WeightFormat kept) => _bench.Backend.CreateMatrix(
            outFeatures, inFeatures, kept, "w", (first, target) => weights.AsSpan(first * inFeatures, target.Length).CopyTo(target));
        using WeightMatrix quantized = Matrix(format);
        _bench.Backend.ReadMatrix(quantized, 0, weights);
        using WeightMatrix unpacked = Matrix(WeightFormat.F32);
        TensorView dy = _bench.Tensor(rows, outFeatures, 3, 0.3f);
        TensorView dx = _bench.Tensor(rows, inFeatures, 4);
        TensorView expected = _bench.Tensor(rows, inFeatures, 4);

        _bench.Training.MatMulBackward(dy, quantized, dx);
        _bench.Training.MatMulBackward(dy, unpacked, expected);

        Assert.Equal(_bench.Read(expected), _bench.Read(dx));
    }

    [Theory]
    [InlineData(1, 1, 1)]
    [InlineData(3, 5, 7)]
    [InlineData(129, 65, 257)]
    [InlineData(64, 8, 300)]
    [InlineData(2, 130, 0)]
    public void Products_equal_their_definition(int rows, int columns, int depth)
    {
        TensorView x = _bench.Tensor(rows, depth, 1);
        TensorView w = _bench.Tensor(depth, columns, 2);
        TensorView y = _bench.Tensor(rows, columns, 3);
        float[] expected = Product(rows, columns, depth, _bench.Read(x), _bench.Read(w));
        float[] old = _bench.Read(y);

        _bench.Training.Multiply(0.5f, x, w, y, add: true);
        AssertNear(Combine(old, expected, 0.5f), _bench.Read(y), depth);
        _bench.Training.Multiply(2f, x, w, y, add: false);
        AssertNear(Combine(new float[old.Length], expected, 2f), _bench.Read(y), depth);
        _bench.Training.MultiplyTransposed(1f, x, Transposed(w), y, add: false);
        AssertNear(expected, _bench.Read(y), depth);
        _bench.Training.Clear(y);
        _bench.Training.AddTransposedProduct(1f, Transposed(x), w, y);
        AssertNear(expected, _bench.Read(y), depth);
    }

    [Theory]
    [InlineData(1, 1, 0f)]
    [InlineData(3, 17, 0f)]
    [InlineData(70, 33, 1f)]
    public void RmsNorm(int rows, int columns, float offset)
    {
        TensorView x = _bench.Tensor(rows, columns, 1);
        TensorView weight = _bench.Row(columns, 2);
        TensorView y = _bench.Tensor(rows, columns, 0);
        TensorView dy = _bench.Tensor(rows, columns, 3, 0.3f);
        TensorView dx = _bench.Tensor(rows, columns, 0);
        TensorView dweight = _bench.Row(columns, 0);
        double Loss()
        {
            _bench.Backend.RmsNorm(x, weight.Buffer, offset, 0.1f, y);
            return _bench.Weighted(y, dy);
        }

        _bench.Training.RmsNormBackward(x, weight.Buffer, offset, 0.1f, dy, dx, dweight);

        _bench.Check("dx", x, dx, Loss);
        _bench.Check("dweight", weight, dweight, Loss);
        float[] apart = _bench.Read(dx);
        _bench.Training.RmsNormBackward(x, weight.Buffer, offset, 0.1f, dy, dy, null);
        Assert.Equal(apart, _bench.Read(dy));
    }

    [Theory]
    [InlineData(2, 3)]
    [InlineData(67, 37)]
    public void LayerNorm(int rows, int columns)
    {
        TensorView x = _bench.Tensor(rows, columns, 1);
        TensorView weight = _bench.Row(columns, 2);
        TensorView bias = _bench.Row(columns, 4);
        TensorView y = _bench.Tensor(rows, columns, 0);
        TensorView dy = _bench.Tensor(rows, columns, 3, 0.3f);
        TensorView dx = _bench.Tensor(rows, columns, 0);
        TensorView dweight = _bench.Row(columns, 0);
        TensorView dbias = _bench.Row(columns, 0);
        double Loss()
        {
            _bench.Backend.LayerNorm(x, weight.Buffer, bias.Buffer, 0.1f, y);
            return _bench.Weighted(y, dy);
        }

        _bench.Training.LayerNormBackward(x, weight.Buffer, 0.1f, dy, dx, dweight, dbias);

        _bench.Check("dx", x, dx, Loss);
        _bench.Check("dweight", weight, dweight, Loss);
        _bench.Check("dbias", bias, dbias, Loss);
        float[] apart = _bench.Read(dx);
        _bench.Training.LayerNormBackward(x, weight.Buffer, 0.1f, dy, dy, null, null);
        Assert.Equal(apart, _bench.Read(dy));
    }

    [Theory]
    [InlineData(8, 8)]
    [InlineData(10, 6)]
    public void Rope(int headSize, int rotarySize)
    {
        const int Length = 9;
        TensorView cos = _bench.Tensor(16, rotarySize / 2, 4, 1f, 0);
        TensorView sin = _bench.Tensor(16, rotarySize / 2, 5, 1f, 0);
        RopeTable table = new(cos.Buffer, sin.Buffer, rotarySize, 16);
        StepInputs step = Step([Length], 16);
        TensorView x = _bench.Tensor(Length, 3 * headSize, 1);
        TensorView y = _bench.Tensor(Length, 3 * headSize, 0);
        TensorView dy = _bench.Tensor(Length, 3 * headSize, 2);
        TensorView weights = _bench.Tensor(Length, 3 * headSize, 2);

        _bench.Training.RopeBackward(table, headSize, step.Positions, dy);

        _bench.Check("dx", x, dy, () =>
        {
            _bench.Backend.BeginStep(step);
            _bench.Training.Copy(x, y);
            _bench.Backend.Rope(table, headSize, y);
            return _bench.Weighted(y, weights);
        });
    }

    [Theory]
    [InlineData(1, 1, 4, 0, 0f)]
    [InlineData(4, 2, 8, 0, 0f)]
    [InlineData(6, 2, 5, 7, 0f)]
    [InlineData(2, 1, 33, 0, 3f)]
    [InlineData(3, 3, 16, 20, 2f)]
    public void Attention(int heads, int kvHeads, int headSize, int window, float softCap)
    {
        int[] lengths = [1, 5, 17, 50];
        int rows = lengths.Sum();
        AttentionParameters parameters = new(heads, kvHeads, headSize, 1 / MathF.Sqrt(headSize), softCap, window);
        StepInputs step = Step(lengths, 64);
        using KvCache cache = _bench.Backend.CreateKvCache(new KvCacheShape(1, lengths.Length, 64, kvHeads, headSize));
        TensorView q = _bench.Tensor(rows, heads * headSize, 1);
        TensorView k = _bench.Tensor(rows, kvHeads * headSize, 2);
        TensorView v = _bench.Tensor(rows, kvHeads * headSize, 3);
        TensorView y = _bench.Tensor(rows, heads * headSize, 0);
        TensorView dy = _bench.Tensor(rows, heads * headSize, 4);
        TensorView dq = _bench.Tensor(rows, heads * headSize, 0);
        TensorView dk = _bench.Tensor(rows, kvHeads * headSize, 0);
        TensorView dv = _bench.Tensor(rows, kvHeads * headSize, 0);
        double Loss()
        {
            _bench.Backend.BeginStep(step);
            _bench.Backend.StoreKv(k, v, cache, 0);
            _bench.Backend.PagedAttention(q, cache, 0, parameters, y);
            return _bench.Weighted(y, dy);
        }

        _bench.Training.AttentionBackward(q, k, v, step.Sequences, parameters, dy, dq, dk, dv);

        _bench.Check("dq", q, dq, Loss);
        _bench.Check("dk", k, dk, Loss);
        _bench.Check("dv", v, dv, Loss);
    }

    [Theory]
    [InlineData(Activation.Silu)]
    [InlineData(Activation.GeluTanh)]
    [InlineData(Activation.Gelu)]
    [InlineData(Activation.Relu)]
    public void Activations_gated_and_alone(Activation activation)
    {
        // Away from 0, where relu has a kink that no finite difference may cross.
        TensorView x = _bench.Tensor(5, 38, 1, 1.5f, 0);
        _bench.Backend.Write([.. _bench.Read(x).Select(value => value + MathF.CopySign(0.05f, value))], x.Buffer);
        TensorView y = _bench.Tensor(5, 19, 0);
        TensorView dy = _bench.Tensor(5, 19, 2);
        TensorView dx = _bench.Tensor(5, 38, 0);
        _bench.Training.GatedActivationBackward(x, activation, dy, dx);
        _bench.Check("gated", x, dx, () =>
        {
            _bench.Backend.GatedActivation(x, activation, y);
            return _bench.Weighted(y, dy);
        });

        TensorView alone = _bench.Tensor(5, 38, 0);
        TensorView weights = _bench.Tensor(5, 38, 3);
        TensorView gradient = _bench.Tensor(5, 38, 3);
        _bench.Training.ActivationBackward(x, activation, gradient);
        _bench.Check("alone", x, gradient, () =>
        {
            _bench.Training.Copy(x, alone);
            _bench.Backend.Activate(activation, alone);
            return _bench.Weighted(alone, weights);
        });
    }

    [Fact]
    public void SoftCap()
    {
        TensorView x = _bench.Tensor(4, 21, 1, 2f);
        TensorView y = _bench.Tensor(4, 21, 0);
        TensorView weights = _bench.Tensor(4, 21, 2);
        TensorView gradient = _bench.Tensor(4, 21, 2);
        double Loss()
        {
            _bench.Training.Copy(x, y);
            _bench.Backend.SoftCap(3f, y);
            return _bench.Weighted(y, weights);
        }

        Loss();
        _bench.Training.SoftCapBackward(y, 3f, gradient);

        _bench.Check("dx", x, gradient, Loss);
    }

    [Fact]
    public void Cross_entropy_is_the_mean_over_labelled_rows_and_leaves_the_others_out()
    {
        int[] labels = [3, -100, 0, 40, -100];
        const float Factor = 1 / 3f;
        TensorView logits = _bench.Tensor(5, 41, 1, 2f);
        TensorView gradient = _bench.Tensor(5, 41, 7);
        double Loss() => _bench.Training.CrossEntropy(logits, labels, Factor, _bench.Tensor(5, 41, 0)) * Factor;

        double loss = _bench.Training.CrossEntropy(logits, labels, Factor, gradient) * Factor;

        float[] values = _bench.Read(logits);
        double expected = new[] { 0, 2, 3 }.Average(row =>
        {
            float[] one = values[(row * 41)..((row + 1) * 41)];
            return Math.Log(one.Sum(value => Math.Exp(value))) - one[labels[row]];
        });
        Assert.Equal(expected, loss, 1e-5);
        float[] read = _bench.Read(gradient);
        Assert.All(read[41..82].Concat(read[164..]), value => Assert.Equal(0f, value));
        _bench.Check("dlogits", logits, gradient, Loss);
    }

    [Fact]
    public void Cross_entropy_of_huge_logits_is_finite()
    {
        TensorView logits = _bench.Tensor(2, 5, 1, 1e4f);
        TensorView gradient = _bench.Tensor(2, 5, 0);

        double loss = _bench.Training.CrossEntropy(logits, [0, 4], 0.5f, gradient);

        Assert.True(double.IsFinite(loss));
        Assert.All(_bench.Read(gradient), value => Assert.True(float.IsFinite(value)));
    }

    [Fact]
    public void Embedding_rows_and_columns_are_scattered_in_order()
    {
        int[] tokens = [4, 0, 4, 2];
        TensorView rows = _bench.Tensor(5, 7, 1);
        TensorView columns = Transposed(rows);
        TensorView y = _bench.Tensor(4, 7, 0);
        TensorView z = _bench.Tensor(4, 7, 0);
        TensorView dy = _bench.Tensor(4, 7, 2);
        TensorView drows = _bench.Tensor(5, 7, 0);
        TensorView dcolumns = _bench.Tensor(7, 5, 0);

        _bench.Training.GatherRows(rows, tokens, y);
        _bench.Training.GatherColumns(columns, tokens, z);
        _bench.Training.ScatterRows(dy, tokens, drows);
        _bench.Training.ScatterColumns(dy, tokens, dcolumns);

        Assert.Equal(_bench.Read(y), _bench.Read(z));
        Assert.Equal(_bench.Read(drows), _bench.Read(Transposed(dcolumns)));
        _bench.Check("drows", rows, drows, () =>
        {
            _bench.Training.GatherRows(rows, tokens, y);
            return _bench.Weighted(y, dy);
        });
    }

    [Fact]
    public void Column_scales_and_sums()
    {
        TensorView x = _bench.Tensor(9, 131, 1);
        TensorView factors = _bench.Row(131, 2);
        TensorView y = _bench.Tensor(9, 131, 0);
        TensorView dy = _bench.Tensor(9, 131, 3);
        TensorView dx = _bench.Tensor(9, 131, 0);
        TensorView dfactors = _bench.Row(131, 0);
        TensorView sums = _bench.Row(131, 0);
        double Loss()
        {
            _bench.Training.ScaleColumns(x, factors, y, add: false);
            return _bench.Weighted(y, dy);
        }

        _bench.Training.ScaleColumns(dy, factors, dx, add: true);
        _bench.Training.AddColumnSums(dy, x, dfactors);
        _bench.Training.AddColumnSums(dy, null, sums);

        _bench.Check("dx", x, dx, Loss);
        _bench.Check("dfactors", factors, dfactors, Loss);
        float[] values = _bench.Read(dy);
        Assert.Equal(Enumerable.Range(0, 9).Sum(row => values[(row * 131) + 130]), _bench.Read(sums)[130], 1e-4f);
    }

    [Fact]
    public void Dropout_keeps_the_mean_and_drops_the_same_elements_on_the_way_back()
    {
        TensorView x = _bench.Tensor(100, 97, 1);
        TensorView y = _bench.Tensor(100, 97, 0);
        TensorView dx = _bench.Tensor(100, 97, 2);
        float[] old = _bench.Read(dx);

        _bench.Training.Dropout(x, 0.25f, 11, y, add: false);
        _bench.Training.Dropout(x, 0.25f, 11, dx, add: true);

        (float[] input, float[] output, float[] back) = (_bench.Read(x), _bench.Read(y), _bench.Read(dx));
        Assert.Equal(0.25, output.Count(value => value == 0) / 9700.0, 0.02);
        for (int i = 0; i < input.Length; i++)
        {
            Assert.True(output[i] == 0 || Math.Abs(output[i] - (input[i] / 0.75f)) < 1e-5);
            Assert.Equal(old[i] + output[i], back[i], 1e-5f);
        }

        _bench.Training.Dropout(x, 0.25f, 12, dx, add: false);
        Assert.NotEqual(output, _bench.Read(dx));
    }

    [Fact]
    public void Adapted_row_norms_are_those_of_the_sum()
    {
        float[] weights = _bench.Read(_bench.Tensor(40, 13, 1, 1f, 0));
        using WeightMatrix weight = _bench.Backend.CreateMatrix(
            40, 13, WeightFormat.F32, "w", (first, target) => weights.AsSpan(first * 13, target.Length).CopyTo(target));
        TensorView a = _bench.Tensor(3, 13, 2);
        TensorView b = _bench.Tensor(7, 3, 3);
        TensorView norms = _bench.Row(7, 0);

        _bench.Training.AdaptedRowNorms(weight, 33, a, b, 0.5f, norms);

        float[] product = Product(7, 13, 3, _bench.Read(b), _bench.Read(a));
        for (int row = 0; row < 7; row++)
        {
            double square = Enumerable.Range(0, 13).Sum(i => Math.Pow(weights[((33 + row) * 13) + i] + (0.5 * product[(row * 13) + i]), 2));
            Assert.Equal(Math.Sqrt(square), _bench.Read(norms)[row], 1e-4);
        }
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Adam_follows_its_formula(bool shrinkAfter)
    {
        AdamStep step = new(0.5f, 0.9f, 0.99f, 0.01f, 0.3f, 1e-3f, 0.95f, shrinkAfter);
        TensorView gradient = _bench.Tensor(3, 37, 1, 1f, 0);
        TensorView first = _bench.Tensor(3, 37, 2, 1f, 0);
        TensorView second = _bench.Tensor(3, 37, 0, 1f, 0);
        TensorView value = _bench.Tensor(3, 37, 3, 1f, 0);
        (float[] g, float[] m, float[] w) = (_bench.Read(gradient), _bench.Read(first), _bench.Read(value));

        _bench.Training.Adam(step, gradient, first, second, value);

        for (int i = 0; i < g.Length; i++)
        {
            double mean = (0.9 * m[i]) + (0.1 * 0.5 * g[i]);
            double square = 0.01 * 0.25 * g[i] * g[i];
            double change = 0.01 * mean / ((Math.Sqrt(square) / 0.3) + 1e-3);
            double expected = shrinkAfter ? (w[i] - change) * 0.95 : (w[i] * 0.95) - change;
            Assert.Equal(mean, _bench.Read(first)[i], 1e-5);
            Assert.Equal(square, _bench.Read(second)[i], 1e-5);
            Assert.Equal(expected, _bench.Read(value)[i], 1e-4);
        }
    }

    [Fact]
    public void One_thread_and_many_give_the_same_bits()
    {
        Assert.Equal(Gradients(1, 0), Gradients(5, 0));
    }

    [Theory]
    [InlineData(128)]
    [InlineData(256)]
    [InlineData(512)]
    public void Every_vector_width_gives_the_same_gradients(int bits)
    {
        int widest = Vector512.IsHardwareAccelerated ? 512 : Vector256.IsHardwareAccelerated ? 256 : Vector128.IsHardwareAccelerated ? 128 : 32;
        float[] expected = Gradients(2, 32);

        // A width that this processor lacks is that of the widest it has.
        float[] actual = Gradients(2, Math.Min(bits, widest));

        Tolerance.AssertClose(expected, actual, 1e-5, $"{bits} bits");
    }

    private static float[] Gradients(int threads, int bits)
    {
        using GradientBench bench = new(threads, bits);
        AttentionParameters parameters = new(8, 4, 16, 0.25f, 0, 0);
        StepInputs step = Step([70, 31], 128);
        TensorView q = bench.Tensor(101, 128, 1);
        TensorView k = bench.Tensor(101, 64, 2);
        TensorView v = bench.Tensor(101, 64, 3);
        TensorView dy = bench.Tensor(101, 128, 4);
        TensorView dq = bench.Tensor(101, 128, 0);
        TensorView dk = bench.Tensor(101, 64, 0);
        TensorView dv = bench.Tensor(101, 64, 0);
        TensorView dw = bench.Tensor(128, 128, 0);
        TensorView norm = bench.Row(128, 0);
        bench.Training.AttentionBackward(q, k, v, step.Sequences, parameters, dy, dq, dk, dv);
        bench.Training.AddTransposedProduct(1f, dq, q, dw);
        bench.Training.GatedActivationBackward(q, Activation.Silu, dk, dw.SliceRows(0, 101));
        bench.Training.ActivationBackward(q, Activation.Gelu, dq);
        bench.Training.RmsNormBackward(q, bench.Row(128, 6).Buffer, 0f, 1e-5f, dq, dy, norm);
        return [.. bench.Read(dq), .. bench.Read(dk), .. bench.Read(dv), .. bench.Read(dw), .. bench.Read(dy), .. bench.Read(norm)];
    }

    private static StepInputs Step(int[] lengths, int blockSize)
    {
        StepInputs step = new(Math.Max(lengths.Sum(), 1), lengths.Length);
        for (int i = 0; i < lengths.Length; i++)
        {
            Assert.True(lengths[i] <= blockSize);
            step.AddSequence(new int[lengths[i]], 0, [i]);
        }

        return step;
    }

    private TensorView Transposed(TensorView x)
    {
        float[] values = _bench.Read(x);
        TensorView y = _bench.Tensor(x.Columns, x.Rows, 0, 1f, 0);
        float[] turned = new float[values.Length];
        for (int row = 0; row < x.Rows; row++)
        {
            for (int column = 0; column < x.Columns; column++)
            {
                turned[(column * x.Rows) + row] = values[(row * x.Columns) + column];
            }
        }

        _bench.Backend.Write(turned, y.Buffer);
        return y;
    }

    private static float[] Product(int rows, int columns, int depth, float[] x, float[] w)
    {
        float[] y = new float[rows * columns];
        for (int row = 0; row < rows; row++)
        {
            for (int column = 0; column < columns; column++)
            {
                double sum = 0;
                for (int k = 0; k < depth; k++)
                {
                    sum += (double)x[(row * depth) + k] * w[(k * columns) + column];
                }

                y[(row * columns) + column] = (float)sum;
            }
        }

        return y;
    }

    private static float[] Combine(float[] old, float[] product, float factor) => [.. old.Zip(product, (a, b) => a + (factor * b))];

    private static void AssertNear(float[] expected, float[] actual, int depth)
    {
        Assert.Equal(expected.Length, actual.Length);
        for (int i = 0; i < expected.Length; i++)
        {
            Assert.True(Math.Abs(expected[i] - actual[i]) <= 1e-5 * (1 + depth), $"element {i}: {expected[i]} against {actual[i]}");
        }
    }
}
