using InferenceServer.Tensors.Quantization;

namespace InferenceServer.Tensors;

/// <summary>How a weight matrix is kept on the device. Accumulation is f32 in every format.</summary>
/// <remarks>
/// A quantised weight is multiplied as the f32 that its code stands for, <c>w = value(code) * scale</c>, rounded once; activations stay
/// f32. <see cref="IComputeBackend.ReadMatrix"/> gives exactly these w.
/// </remarks>
public enum WeightFormat
{
    /// <summary>4 bytes a weight; the most exact, for golden data and small models.</summary>
    F32,

    /// <summary>2 bytes a weight, rounded to nearest even.</summary>
    BF16,

    /// <summary>
    /// 8.5 bits a weight: integers in -127 .. 127, one bf16 scale for each 32 inputs of an output; see <see cref="GroupInt8"/>.
    /// </summary>
    Int8,

    /// <summary>
    /// 4.13 bits a weight: QLoRA's 4-bit NormalFloat (arXiv:2305.14314) with one scale for each 64 inputs of an output, the scales
    /// themselves in 8 bits, which a backend may keep unpacked (the CPU does: 4.5 bits); see <see cref="NormalFloat4"/> and <see cref="DynamicByte"/>.
    /// </summary>
    NF4,
}
