using System.Runtime.InteropServices;

namespace InferenceServer.Cuda.Adapters;

/// <summary>
/// What an adapter changes of one module, as kernels read it (LoraPart in adapters.cuh, the same members): addresses on the device and
/// numbers, all zero where the adapter leaves the module alone.
/// </summary>
[StructLayout(LayoutKind.Sequential)]
internal struct PartRecord
{
    /// <summary>Addresses of A's rows, then of the gate's.</summary>
    public ulong A;

    /// <summary>Addresses of B's columns.</summary>
    public ulong B;

    /// <summary>f32 <c>[in]</c>.</summary>
    public ulong InputScale;

    /// <summary>f32 <c>[out]</c>.</summary>
    public ulong OutputScale;

    /// <summary>f32 <c>[out]</c>.</summary>
    public ulong OutputBias;

    /// <summary>Temperature (f32), top k, ranks of each block, biases of each block (f32).</summary>
    public ulong Gate;

    /// <summary>Token ids, ascending.</summary>
    public ulong ReplacedTokens;

    /// <summary>Addresses of their rows, f32.</summary>
    public ulong ReplacedRows;

    /// <summary>The weight in place of the module's, row by row.</summary>
    public ulong Replacement;

    /// <summary>Rank R.</summary>
    public int Rank;

    /// <summary>Blocks of the gate.</summary>
    public int Blocks;

    /// <summary>1 where A and B are bf16, else 0.</summary>
    public int IsBFloat16;

    /// <summary>1 where the module's weight is replaced, else 0.</summary>
    public int IsReplaced;

    /// <summary>Replaced tokens.</summary>
    public int ReplacedCount;

    /// <summary>1 where the replacement is bf16, 0 where it is f32.</summary>
    public int IsReplacementBFloat16;

    /// <summary>Elements from one row of the replacement to the next.</summary>
    public int ReplacementStride;

    /// <summary>Fills up to a multiple of 16 bytes.</summary>
    public int Unused;
}
