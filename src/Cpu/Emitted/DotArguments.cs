using System.Runtime.InteropServices;

namespace InferenceServer.Cpu.Emitted;

/// <summary>What an emitted kernel is called with; it reads the fields by their offsets.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct DotArguments
{
    /// <summary>First row of x: 32 bits for each step, two inputs of 16 bits or four of 8. Of bf16 tiles, the first of <see cref="TileRows"/>.</summary>
    public byte* X;

    /// <summary>Bytes from one row of x to the next; of bf16 tiles, from 16 rows to the next.</summary>
    public nint XStride;

    /// <summary>Weights of the first columns.</summary>
    public byte* B0;

    /// <summary>Weights of the second columns.</summary>
    public byte* B1;

    /// <summary>First row of the result.</summary>
    public float* C;

    /// <summary>Bytes from one row of the result to the next.</summary>
    public nint CStride;

    /// <summary>Blocks of inputs, those that share a scale or else 32; at least one.</summary>
    public nint Blocks;

    /// <summary>0 to overwrite the result; 1 to go on from it.</summary>
    public nint Resume;

    /// <summary>What to ask of the memory beside the first weights.</summary>
    public byte* Prefetch0;

    /// <summary>What to ask of the memory beside the second.</summary>
    public byte* Prefetch1;

    /// <summary>Scales of x (integers only), one for each row and group.</summary>
    public GroupFactor* XFactors;

    /// <summary>Bytes from one row's scales to the next.</summary>
    public nint XFactorStride;

    /// <summary>Scales of the first weights times each mantissa, where they are formed once for many rows (NF4 only).</summary>
    public void* BScales;

    /// <summary>What the 16 codes of a format stand for (NF4 only): bytes, each value four times.</summary>
    public byte* Values;
}
