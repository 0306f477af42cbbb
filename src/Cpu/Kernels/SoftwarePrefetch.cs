using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics.X86;

namespace InferenceServer.Cpu.Kernels;

/// <summary>
/// Asks for memory ahead of its use. The processor does so by itself inside a page of 4 KB; a kernel that streams across pages gains by
/// asking for the next one before it is there.
/// </summary>
internal static unsafe class SoftwarePrefetch
{
    private const int Bytes = 2048;

    /// <summary>Only a hint: an address past the end does no harm.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Ahead(byte* address)
    {
        if (Sse.IsSupported)
        {
            Sse.Prefetch0(address + Bytes);
        }
    }

    /// <summary>Asks for the line at an address; only a hint.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void At(void* address)
    {
        if (Sse.IsSupported)
        {
            Sse.Prefetch0(address);
        }
    }
}
