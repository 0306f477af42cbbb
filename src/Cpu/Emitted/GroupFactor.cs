using System.Runtime.InteropServices;

namespace InferenceServer.Cpu.Emitted;

/// <summary>What belongs to a group of a row of x; emitted kernels read the fields by their offsets.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct GroupFactor
{
    /// <summary>What a sum of products is multiplied by, before the weights' scale; not finite if an element of the group is not.</summary>
    public float Scale;

    /// <summary>What is added to the scaled sum (NF4 only): it takes out again what the unsigned bytes of the weights are above their values.</summary>
    public float Start;
}
