using InferenceServer.Tensors;
using InferenceServer.Training.Tape;

namespace InferenceServer.Training.Methods;

/// <summary>LoRA-drop's modules of low importance: a LoRA whose A and B are those of other modules too.</summary>
internal sealed class SharedLoraMethod : ModuleMethod
{
    private readonly bool _isOwner;

    /// <param name="path">The module; the parameters bear the name of the first that shares them.</param>
    /// <param name="pair">A and B, whose gradients add up over all modules that share them.</param>
    /// <param name="isOwner">Whether this module is that first one, which counts and disposes the parameters.</param>
    public SharedLoraMethod(string path, LoraMethod pair, bool isOwner)
    {
        Path = path;
        Pair = pair;
        _isOwner = isOwner;
    }

    public string Path { get; }

    /// <summary>What is shared.</summary>
    public LoraMethod Pair { get; }

    /// <summary>The pair, once: at its owner.</summary>
    public override IReadOnlyList<Parameter> Parameters => _isOwner ? Pair.Parameters : [];

    public override void Apply(GradientTape tape, TensorView x, TensorView y) => Pair.Apply(tape, x, y);
}
