using System.Runtime.InteropServices;

namespace InferenceServer.Cpu.Emitted;

/// <summary>
/// What belongs to a group of a row of x, <c>x = integer * Mantissa * 2^Exponent</c>; emitted kernels read the fields by their offsets.
/// </summary>
/// <remarks>
/// The scale of the weights is multiplied by the mantissa, which is one of a few, then by the power of two, which is exact. So mantissas can be
/// multiplied once for many rows, and powers by vscalefps, which runs beside products, where multiplications would take their place.
/// </remarks>
[StructLayout(LayoutKind.Sequential)]
internal struct GroupFactor
{
    /// <summary>A whole number; NaN if an element of the group is not finite.</summary>
    public float Exponent;

    /// <summary>What sums of products begin with (NF4 only): it takes out what the unsigned bytes of the weights are above their values.</summary>
    public int Start;

    /// <summary>1 beside int8; else one of <see cref="ScaleMantissas"/>, divided by what a weight of 1 becomes.</summary>
    public float Mantissa;

    /// <summary>Bytes from the weights' scales to those times the mantissa, in <see cref="ScaleMantissas.Multiply"/>'s order.</summary>
    public int ScaleOffset;
}
