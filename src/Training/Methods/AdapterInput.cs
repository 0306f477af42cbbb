using InferenceServer.Tensors;
using InferenceServer.Training.Tape;

namespace InferenceServer.Training.Methods;

/// <summary>The input of an adapter's branch: the module's input, with dropout while training.</summary>
internal readonly struct AdapterInput
{
    private readonly TensorView _x;
    private readonly float _rate;
    private readonly ulong _seed;

    private AdapterInput(TensorView x, TensorView view, float rate, ulong seed)
    {
        _x = x;
        View = view;
        _rate = rate;
        _seed = seed;
    }

    /// <summary>What the branch reads.</summary>
    public TensorView View { get; }

    /// <param name="tape">The step.</param>
    /// <param name="x">The module's input.</param>
    /// <param name="rate">Dropout; 0 for none. Nothing is dropped outside of training.</param>
    public static AdapterInput Of(GradientTape tape, TensorView x, float rate)
    {
        if (rate == 0 || !tape.IsTraining)
        {
            return new AdapterInput(x, x, 0, 0);
        }

        TensorView dropped = tape.Take(x.Rows, x.Columns);
        ulong seed = tape.NextSeed();
        tape.Operations.Dropout(x, rate, seed, dropped, add: false);
        return new AdapterInput(x, dropped, rate, seed);
    }

    /// <summary>What the branch read, for the backward pass.</summary>
    public TensorView Keep(GradientTape tape) => _rate == 0 ? tape.Keep(_x) : View;

    /// <summary>Through <c>inner = input a^T</c>: adds <c>dinner a</c> to the gradient of the module's input.</summary>
    public void Backward(GradientTape tape, TensorView dinner, TensorView a)
    {
        ITrainingBackend operations = tape.Operations;
        if (_rate == 0)
        {
            operations.Multiply(1f, dinner, a, tape.GradientOf(_x), add: true);
            return;
        }

        TensorView dropped = tape.Take(_x.Rows, _x.Columns);
        operations.Multiply(1f, dinner, a, dropped, add: false);
        operations.Dropout(dropped, _rate, _seed, tape.GradientOf(_x), add: true);
    }
}
