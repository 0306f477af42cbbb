using InferenceServer.Tensors;
using InferenceServer.Training;
using InferenceServer.Training.Methods;
using InferenceServer.Training.Tape;
using Xunit;

namespace InferenceServer.UnitTests.Training;

/// <summary>A router's operations and its whole way back against finite differences.</summary>
[Trait("Category", "Training")]
public sealed class GateKernelTests : IDisposable
{
    private readonly GradientBench _bench = new();

    public void Dispose() => _bench.Dispose();

    [Theory]
    [InlineData(1, 1, 1, 1f, false)]
    [InlineData(3, 2, 2, 1f, true)]
    [InlineData(7, 5, 5, 0.5f, true)]
    [InlineData(7, 5, 2, 2f, true)]
    [InlineData(9, 64, 3, 1f, false)]
    public void The_softmax_of_a_gate(int rows, int blocks, int topK, float temperature, bool biased)
    {
        TensorView x = Apart(rows, blocks);
        TensorView bias = _bench.Row(blocks, 2, 0.02f);
        TensorView y = _bench.Tensor(rows, blocks, 0);
        TensorView dy = _bench.Tensor(rows, blocks, 3);
        TensorView dx = _bench.Tensor(rows, blocks, 4);
        TensorView dbias = _bench.Row(blocks, 0);
        double Loss()
        {
            _bench.Training.GateSoftmax(x, biased ? bias : null, temperature, topK, y);
            return _bench.Weighted(y, dy);
        }

        Loss();
        _bench.Training.GateSoftmaxBackward(y, temperature, dy, dx);
        _bench.Training.AddColumnSums(dx, null, dbias);

        float[] weights = _bench.Read(y);
        for (int row = 0; row < rows; row++)
        {
            Assert.Equal(1, weights.AsSpan(row * blocks, blocks).ToArray().Sum(), 1e-5);
            Assert.Equal(topK, weights.AsSpan(row * blocks, blocks).ToArray().Count(weight => weight > 0));
        }

        _bench.Check("dx", x, dx, Loss);
        if (biased)
        {
            _bench.Check("dbias", bias, dbias, Loss);
        }

        Loss();
        float[] apart = _bench.Read(dx);
        _bench.Training.GateSoftmaxBackward(y, temperature, dy, dy);
        Assert.Equal(apart, _bench.Read(dy));
        _bench.Training.GateSoftmax(x, biased ? bias : null, temperature, topK, x);
        Assert.Equal(weights, _bench.Read(x));
    }

    [Fact]
    public void Of_equal_scores_the_first_take_part()
    {
        TensorView x = _bench.Tensor(1, 4, 0);
        TensorView y = _bench.Tensor(1, 4, 0);

        _bench.Training.GateSoftmax(x, null, 1f, 2, y);

        Assert.Equal([0.5f, 0.5f, 0, 0], _bench.Read(y));
    }

    [Theory]
    [InlineData(1, new[] { 1 })]
    [InlineData(3, new[] { 2, 0, 5 })]
    [InlineData(17, new[] { 8, 16, 33 })]
    public void Blocks_are_scaled_and_give_their_factors_the_products(int rows, int[] sizes)
    {
        int columns = sizes.Sum();
        TensorView x = _bench.Tensor(rows, columns, 1, 0.5f);
        TensorView factors = _bench.Tensor(rows, sizes.Length, 2, 0.5f);
        TensorView y = _bench.Tensor(rows, columns, 0);
        TensorView dy = _bench.Tensor(rows, columns, 3, 0.5f);
        TensorView dx = _bench.Tensor(rows, columns, 4);
        TensorView dfactors = _bench.Tensor(rows, sizes.Length, 5);
        double Loss()
        {
            _bench.Training.ScaleBlocks(x, factors, sizes, y);
            return _bench.Weighted(y, dy);
        }

        _bench.Training.BlockProducts(dy, x, sizes, dfactors);
        _bench.Training.ScaleBlocks(dy, factors, sizes, dx);

        _bench.Check("dfactors", factors, dfactors, Loss);
        _bench.Check("dx", x, dx, Loss);
        float[] apart = _bench.Read(dx);
        _bench.Training.ScaleBlocks(dy, factors, sizes, dy);
        Assert.Equal(apart, _bench.Read(dy));
    }

    [Theory]
    [InlineData(5, new[] { 3, 4 }, 2, false)]
    [InlineData(11, new[] { 1, 0, 6, 2 }, 4, true)]
    [InlineData(11, new[] { 3, 2, 4 }, 2, true)]
    public void A_router_has_the_gradients_of_its_loss(int rows, int[] ranks, int topK, bool biased)
    {
        const int Inputs = 13;
        const int Outputs = 10;
        int rank = ranks.Sum();
        using Parameter a = Matrix("a", rank, Inputs, 1);
        using Parameter b = Matrix("b", Outputs, rank, 2);
        using Parameter gate = Matrix("gate", ranks.Length, Inputs, 3);
        using Parameter bias = Matrix("bias", 1, ranks.Length, 4);
        RouterMethod router = new("module", ranks, a, b, gate, biased ? bias : null, 0.8f, topK);
        using GradientTape tape = new(_bench.Backend, _bench.Training);
        TensorView x = _bench.Tensor(rows, Inputs, 5, 0.4f);
        TensorView y = _bench.Tensor(rows, Outputs, 0);
        TensorView dy = _bench.Tensor(rows, Outputs, 6, 0.3f);
        double Loss()
        {
            tape.IsRecording = false;
            _bench.Training.Clear(y);
            router.Apply(tape, x, y);
            tape.Reset();
            return _bench.Weighted(y, dy);
        }

        tape.IsRecording = true;
        router.Apply(tape, x, y);
        _bench.Training.Copy(dy, tape.GradientOf(y));
        tape.Backward();

        _bench.Check("dx", x, tape.GradientOf(x), Loss);
        foreach (Parameter parameter in router.Parameters)
        {
            _bench.Check(parameter.Name, parameter.Value, parameter.Gradient, Loss);
        }

        // What is added to the output leaves the gradient of what was there before.
        Assert.Equal(_bench.Read(dy), _bench.Read(tape.GradientOf(y)));
    }

    [Fact]
    public void Views_that_do_not_fit_are_refused()
    {
        TensorView x = _bench.Tensor(2, 5, 1);
        TensorView factors = _bench.Tensor(2, 2, 1);

        Assert.Throws<ArgumentException>(() => _bench.Training.ScaleBlocks(x, factors, [2, 2], x));
        Assert.Throws<ArgumentException>(() => _bench.Training.ScaleBlocks(x, factors, [6, -1], x));
        Assert.Throws<ArgumentException>(() => _bench.Training.BlockProducts(x, x, [1, 1, 3], factors));
        Assert.Throws<ArgumentException>(() => _bench.Training.GateSoftmax(x, null, 1f, 0, x));
        Assert.Throws<ArgumentException>(() => _bench.Training.GateSoftmax(x, null, 1f, 6, x));
        Assert.Throws<ArgumentException>(() => _bench.Training.GateSoftmax(x, factors, 1f, 1, x));
        Assert.Throws<ArgumentException>(() => _bench.Training.GateSoftmaxBackward(factors, 1f, x, x));
        TensorView wide = _bench.Tensor(1, 65, 1);
        Assert.Throws<ArgumentException>(() => _bench.Training.GateSoftmax(wide, null, 1f, 1, wide));
    }

    // Scores so far apart that a step of the differences does not change which are the largest.
    private TensorView Apart(int rows, int columns)
    {
        TensorView x = _bench.Tensor(rows, columns, 0);
        float[] values = new float[x.Buffer.ByteCount / sizeof(float)];
        Random random = new(1);
        for (int row = 0; row < rows; row++)
        {
            int[] order = [.. Enumerable.Range(0, columns).OrderBy(_ => random.Next())];
            for (int column = 0; column < columns; column++)
            {
                values[(row * x.RowStride) + column] = (order[column] * 0.3f) - 1;
            }
        }

        _bench.Backend.Write(values, x.Buffer);
        return x;
    }

    private Parameter Matrix(string name, int rows, int columns, int seed) => new(
        _bench.Backend,
        [new ParameterPart(name, 0, [rows, columns])],
        _bench.Read(_bench.Tensor(rows, columns, seed, 0.4f)),
        columns,
        ParameterKind.Plain,
        isTrained: true);
}
