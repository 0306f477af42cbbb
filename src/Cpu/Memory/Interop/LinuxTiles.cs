using System.Runtime.InteropServices;

namespace InferenceServer.Cpu.Memory.Interop;

/// <summary>Linux saves the 8 KB of a thread's tiles only for processes that have asked for them; see Documentation/arch/x86/xstate.rst.</summary>
internal static partial class LinuxTiles
{
    private const long ArchPrctl = 158;
    private const long RequestPermission = 0x1023;
    private const long TileData = 18;

    /// <summary>Asks for this process, all its threads included; false where the system refuses.</summary>
    public static bool Request() => SystemCall(ArchPrctl, RequestPermission, TileData) == 0;

    [LibraryImport("libc", EntryPoint = "syscall")]
    private static partial long SystemCall(long number, long first, long second);
}
