using InferenceServer.Tensors;
using InferenceServer.Training;
using InferenceServer.Training.Methods;
using InferenceServer.Training.Tape;
using Xunit;

namespace InferenceServer.UnitTests.Training;

/// <summary>A router's whole way back against finite differences.</summary>
[Trait("Category", "Training")]
public sealed class RouterGradientTests : IDisposable
{
    private readonly GradientBench _bench = new();

    public void Dispose() => _bench.Dispose();

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

    private Parameter Matrix(string name, int rows, int columns, int seed) => new(
        _bench.Backend,
        [new ParameterPart(name, 0, [rows, columns])],
        _bench.Read(_bench.Tensor(rows, columns, seed, 0.4f)),
        columns,
        ParameterKind.Plain,
        isTrained: true);
}
