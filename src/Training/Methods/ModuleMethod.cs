using InferenceServer.Tensors;
using InferenceServer.Training.Tape;

namespace InferenceServer.Training.Methods;

/// <summary>What one method trains on one module of the base: its parameters, its part of the forward, and the way back.</summary>
internal abstract class ModuleMethod : IDisposable
{
    /// <summary>The parameters, in the order of the exported file; frozen ones that the file needs included.</summary>
    public abstract IReadOnlyList<Parameter> Parameters { get; }

    /// <summary>Those that are not trained and yet change from step to step.</summary>
    public virtual IReadOnlyList<Parameter> Followers => [];

    /// <summary>Whether the module's input is scaled.</summary>
    public virtual bool ScalesInput => false;

    /// <summary>Stands for the weight that takes the place of the base's, or null.</summary>
    public virtual WeightMatrix? Replacement => null;

    /// <summary>The norm weight that takes the place of the base's, or null.</summary>
    public virtual DeviceBuffer? NormWeight => null;

    /// <summary>Changes the module's output, which holds <c>W x</c> without the bias.</summary>
    public virtual void Apply(GradientTape tape, TensorView x, TensorView y)
    {
    }

    /// <summary>Scales the module's input, in place.</summary>
    public virtual void ScaleInput(GradientTape tape, TensorView y)
    {
    }

    /// <summary>Changes gathered embeddings.</summary>
    public virtual void ApplyToEmbedding(GradientTape tape, int[] tokens, TensorView y)
    {
    }

    /// <summary>After the optimiser has changed the parameters.</summary>
    /// <param name="operations">Computes on the parameters.</param>
    /// <param name="step">Number of the step just done, from 1.</param>
    public virtual void AfterStep(ITrainingBackend operations, int step)
    {
    }

    public virtual void Dispose()
    {
        foreach (Parameter parameter in Parameters)
        {
            parameter.Dispose();
        }
    }
}
