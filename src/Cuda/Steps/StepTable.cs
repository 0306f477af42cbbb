namespace InferenceServer.Cuda.Steps;

/// <summary>The integer tables of a step in device memory.</summary>
internal enum StepTable
{
    /// <summary>Rows T, sampled rows, sequences, 0.</summary>
    Counts,

    /// <summary>Token ids, by row.</summary>
    Tokens,

    /// <summary>Positions, by row.</summary>
    Positions,

    /// <summary>Index of its sequence, by row.</summary>
    RowSequences,

    /// <summary>Four integers a sequence: first row, rows, position of the first row, first entry in <see cref="Blocks"/>.</summary>
    Sequences,

    /// <summary>KV block numbers of all sequences.</summary>
    Blocks,

    /// <summary>Sampled rows.</summary>
    SampledRows,

    /// <summary>Indexes of the sequences with <see cref="StepTables.MinPrefilledRows"/> rows and more; empty in a graph step.</summary>
    PrefilledSequences,

    /// <summary>Rows of all other sequences; empty in a graph step.</summary>
    DecodedRows,

    /// <summary>The <see cref="LoraTable"/> of <see cref="Tensors.Steps.StepInputs.Lora"/>; this and the next three have no size without groups.</summary>
    Lora,

    /// <summary>That of <see cref="Tensors.Steps.StepInputs.SampledLora"/>.</summary>
    SampledLora,

    /// <summary>That of <see cref="Tensors.Steps.StepInputs.Restore"/>.</summary>
    Restore,

    /// <summary>That of <see cref="Tensors.Steps.StepInputs.SampledRestore"/>.</summary>
    SampledRestore,

    /// <summary>The step's own <see cref="Sampling.SamplingTable"/>; nothing lies behind it.</summary>
    Sampling,
}
