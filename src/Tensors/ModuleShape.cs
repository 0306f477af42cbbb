namespace InferenceServer.Tensors;

/// <summary>One module of the base model that an adapter may name.</summary>
/// <param name="Index">Place in <see cref="ModelShape.Modules"/>; the target id used everywhere.</param>
/// <param name="Path">Full path as in the checkpoint, for example <c>model.layers.0.self_attn.q_proj</c>.</param>
/// <param name="Kind">What it is.</param>
/// <param name="OutFeatures">Rows of the logical <c>[out, in]</c> weight; for an embedding the hidden size.</param>
/// <param name="InFeatures">Columns of the logical weight; for an embedding the vocabulary size; for a norm 0.</param>
/// <param name="HasBias">Whether the base model has a bias here.</param>
/// <param name="Layer">Number of the decoder layer, or -1 outside the layers.</param>
public sealed record ModuleShape(int Index, string Path, ModuleKind Kind, int OutFeatures, int InFeatures, bool HasBias, int Layer)
{
    /// <summary>Last part of the path, for example <c>q_proj</c>.</summary>
    public string Name => Path[(Path.LastIndexOf('.') + 1)..];
}
