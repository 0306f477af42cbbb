using System.Runtime.InteropServices;
using System.Runtime.Intrinsics.X86;

namespace InferenceServer.Cpu.Emitted;

/// <summary>Instructions that this processor has and that .NET offers no method for, so that their kernels are emitted at run time.</summary>
/// <remarks>Intel's Software Developer's Manual, CPUID leaf 7. Kernels follow the calling convention of x64 Linux.</remarks>
internal static class ProcessorInstructions
{
    private const int FeatureLeaf = 7;

    private const int TileLeaf = 0x1d;
    private const int MultiplierLeaf = 0x1e;

    /// <summary>AMX-BF16, AMX-TILE, AMX-INT8.</summary>
    private const int AmxFeatures = (1 << 22) | (1 << 24) | (1 << 25);

    private static readonly (int Ebx, int Ecx, int Edx) s_features = Features(0);
    private static readonly int s_moreFeatures = MoreFeatures();

    /// <summary>vdpbf16ps over 512 bits: products of pairs of bf16, summed in f32.</summary>
    public static bool HasBFloat16Dots => CanEmit && (s_moreFeatures & (1 << 5)) != 0;

    /// <summary>
    /// vpdpwssd and vpdpbusd over 512 bits: products of pairs of 16-bit integers and of quads of bytes, summed in 32 bits. With vpermb, which looks values
    /// up, and which all have but the first that had the others (Cascade Lake, Cooper Lake).
    /// </summary>
    public static bool HasIntegerDots => CanEmit && Avx512Vbmi.IsSupported && (s_features.Ecx & (1 << 11)) != 0;

    /// <summary>AMX: products of tiles of bf16 and of bytes, of the sizes that the kernels use. The system must still grant them.</summary>
    public static bool HasTiles => CanEmit && (s_features.Edx & AmxFeatures) == AmxFeatures && HasTileSizes;

    /// <summary>
    /// Whether vdpbf16ps is worth its rounding of x: on AMD's Zen 4 and 5 it runs as often as a multiply-add; on Intel's Sapphire Rapids it
    /// was measured no faster than multiply-adds, and tiles are there instead.
    /// </summary>
    public static bool HasFastBFloat16Dots => HasBFloat16Dots && IsAmd;

    private static bool IsAmd
    {
        get
        {
            (_, int ebx, _, _) = X86Base.CpuId(0, 0);
            const int Auth = 0x68747541;
            return ebx == Auth;
        }
    }

    // .NET says so only if the operating system keeps the wide registers too.
    private static bool CanEmit =>
        Avx512BW.IsSupported && OperatingSystem.IsLinux() && RuntimeInformation.ProcessArchitecture == Architecture.X64;

    /// <summary>Eight tiles of 16 rows of 64 bytes in palette 1, and products as deep and wide as these.</summary>
    private static bool HasTileSizes
    {
        get
        {
            if (X86Base.CpuId(0, 0).Eax < MultiplierLeaf)
            {
                return false;
            }

            (int palettes, _, _, _) = X86Base.CpuId(TileLeaf, 0);
            (_, int tiles, int rows, _) = X86Base.CpuId(TileLeaf, 1);
            (_, int multiplier, _, _) = X86Base.CpuId(MultiplierLeaf, 0);
            return palettes >= 1
                && tiles >>> 16 >= 8 && (tiles & 0xffff) >= 64 && (rows & 0xffff) >= 16
                && (multiplier & 0xff) >= 16 && ((multiplier >> 8) & 0xffff) >= 64;
        }
    }

    private static (int Ebx, int Ecx, int Edx) Features(int subleaf)
    {
        if (!X86Base.IsSupported || X86Base.CpuId(0, 0).Eax < FeatureLeaf)
        {
            return default;
        }

        (_, int ebx, int ecx, int edx) = X86Base.CpuId(FeatureLeaf, subleaf);
        return (ebx, ecx, edx);
    }

    private static int MoreFeatures() =>
        X86Base.IsSupported && X86Base.CpuId(0, 0).Eax >= FeatureLeaf && X86Base.CpuId(FeatureLeaf, 0).Eax >= 1
            ? X86Base.CpuId(FeatureLeaf, 1).Eax
            : 0;
}
