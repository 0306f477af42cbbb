using InferenceServer.Tensors;
using InferenceServer.Training.Starts;

namespace InferenceServer.Training.Methods;

/// <summary>Makes the parameters of modules under PEFT's names.</summary>
internal sealed class ParameterFactory
{
    private readonly IComputeBackend _backend;
    private readonly StartValues _start;

    /// <param name="backend">Where they live.</param>
    /// <param name="start">Their start values.</param>
    public ParameterFactory(IComputeBackend backend, StartValues start)
    {
        _backend = backend;
        _start = start;
    }

    /// <summary>A matrix, from the start's file where there is one.</summary>
    public Parameter Create(string name, long[] shape, ParameterKind kind, Func<float[]> fresh, bool isTrained = true) => new(
        _backend,
        [new ParameterPart(name, 0, shape)],
        _start.Get(AdapterBuilder.Prefix + name, shape[0] * shape[1], fresh),
        (int)shape[1],
        kind,
        isTrained);

    /// <summary>A vector, kept as one row whatever shape the file gives it.</summary>
    public Parameter CreateVector(string name, long[] shape, Func<float[]> fresh)
    {
        ParameterPart part = new(name, 0, shape);
        return new Parameter(
            _backend, [part], _start.Get(AdapterBuilder.Prefix + name, part.Count, fresh), (int)part.Count, ParameterKind.Vector, isTrained: true);
    }
}
