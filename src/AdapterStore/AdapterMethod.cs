namespace InferenceServer.AdapterStore;

/// <summary>The adapter methods that can be served (peft_type).</summary>
public enum AdapterMethod
{
    /// <summary>LoRA and what is stored as LoRA: rsLoRA, DoRA, LoRA-FA, LoRA+, converted PiSSA and OLoRA.</summary>
    Lora,

    /// <summary>AdaLoRA: B diag(E) A with ranks of their own per module.</summary>
    AdaLora,

    /// <summary>VeRA: shared random projections, vectors per module.</summary>
    Vera,

    /// <summary>IA3: vectors that scale outputs or inputs.</summary>
    Ia3,

    /// <summary>Routed: the pairs of several adapters and a gate that weighs them for each token; this server's own format.</summary>
    Routed,
}
