using InferenceServer.Models.Checkpoints;
using InferenceServer.Tensors;

namespace InferenceServer.Models.Transformer;

/// <summary>A module whose tensors have been found and checked, but not read yet.</summary>
/// <param name="Shape">The module.</param>
/// <param name="Weight">Its weight in the checkpoint.</param>
/// <param name="Bias">Its bias, or null.</param>
internal sealed record ModulePlan(ModuleShape Shape, CheckpointTensor Weight, CheckpointTensor? Bias)
{
    /// <summary>Reads rows of the logical <c>[out, in]</c> weight.</summary>
    public void ReadRows(int firstRow, Span<float> destination)
    {
        if (Shape.Kind == ModuleKind.Norm)
        {
            Weight.Read(firstRow, destination);
        }
        else
        {
            Weight.ReadRows(firstRow, destination, transposed: Shape.Kind == ModuleKind.Conv1D);
        }
    }
}
