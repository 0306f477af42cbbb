using InferenceServer.Tensors.Adapters;

namespace InferenceServer.Tensors;

/// <summary>What a backend can do beside <see cref="IComputeBackend"/> when it folds adapters into weights where the weights lie.</summary>
public interface IFoldingBackend
{
    /// <summary>
    /// Makes a copy of a matrix in which rows are changed: <c>W' = diag(g) W diag(l) + B A</c>, g and l being the output and input scale of a
    /// change, where it has them. All other rows keep their values. May be called beside a running step.
    /// </summary>
    /// <param name="original">The matrix, in any format.</param>
    /// <param name="changes">Changes of rows that do not overlap; their gates, biases and replacements do not count.</param>
    /// <param name="format">F32 or BF16.</param>
    /// <param name="label">Names the copy.</param>
    /// <exception cref="DeviceMemoryException">There is too little memory; nothing stays allocated.</exception>
    WeightMatrix Fold(WeightMatrix original, IReadOnlyList<RowChange> changes, WeightFormat format, string label);
}
