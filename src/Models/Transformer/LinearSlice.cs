using InferenceServer.Tensors;

namespace InferenceServer.Models.Transformer;

/// <summary>
/// The part of a <see cref="Linear"/>'s output that one module of the checkpoint makes. Projections that read the same input (q, k, v;
/// gate, up) are one matrix here, while adapters still name them one by one.
/// </summary>
/// <param name="Module">The module as adapters know it.</param>
/// <param name="FirstRow">First output of it.</param>
public sealed record LinearSlice(ModuleShape Module, int FirstRow)
{
    /// <summary>Number of outputs.</summary>
    public int RowCount => Module.OutFeatures;
}
