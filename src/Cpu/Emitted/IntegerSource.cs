namespace InferenceServer.Cpu.Emitted;

/// <summary>Where a kernel of integers takes its weights from.</summary>
internal enum IntegerSource
{
    /// <summary>The codes of an int8 panel and its bf16 scales.</summary>
    Int8,

    /// <summary>The codes of an NF4 panel, and its scales as f32.</summary>
    NF4,
}
