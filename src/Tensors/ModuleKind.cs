namespace InferenceServer.Tensors;

/// <summary>What a module of the base model is, as an adapter sees it.</summary>
public enum ModuleKind
{
    /// <summary>A linear layer; weight <c>[out, in]</c> as the file stores it.</summary>
    Linear,

    /// <summary>GPT-2's Conv1D: a linear layer whose file stores the weight as <c>[in, out]</c>.</summary>
    Conv1D,

    /// <summary>A token embedding; <c>OutFeatures</c> is the hidden size, <c>InFeatures</c> the vocabulary; the weight is <c>[vocabulary, hidden]</c>.</summary>
    Embedding,

    /// <summary>A normalisation layer with a weight <c>[out]</c> and perhaps a bias.</summary>
    Norm,
}
