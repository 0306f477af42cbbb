namespace InferenceServer.Tensors;

/// <summary>What follows from a format.</summary>
public static class WeightFormatExtensions
{
    /// <summary>Whether weights are codes of a few bits with scales beside them.</summary>
    public static bool IsQuantized(this WeightFormat format) => format is WeightFormat.Int8 or WeightFormat.NF4;

    /// <summary>
    /// The format of what is never quantised beside a base in this one: adapters, embeddings and the output head. QLoRA keeps them in the
    /// type it computes in, which is bf16.
    /// </summary>
    public static WeightFormat Unquantized(this WeightFormat format) => format.IsQuantized() ? WeightFormat.BF16 : format;
}
