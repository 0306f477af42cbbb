using System.Runtime.InteropServices;

namespace InferenceServer.Cpu.Memory.Interop;

/// <summary>Linux saves the 8 KB of a thread's tiles only for processes that have asked for them; see Documentation/arch/x86/xstate.rst.</summary>
internal static partial class LinuxTiles
{
    private const long ArchPrctl = 158;
    private const long RequestPermission = 0x1023;
    private const long TileData = 18;

    /// <summary>
    /// Asks for this process, its threads present and future included. 0, or the error: EINVAL of a kernel before 5.16, EOPNOTSUPP where it keeps no tiles,
    /// ENOSPC where a thread's stack for signals could not hold them, EPERM of a sandbox.
    /// </summary>
    /// <remarks>Granted means that the processor's tiles are switched on: no instruction of theirs is undefined then.</remarks>
    public static int Request() => SystemCall(ArchPrctl, RequestPermission, TileData) == 0 ? 0 : Marshal.GetLastPInvokeError();

    [LibraryImport("libc", EntryPoint = "syscall", SetLastError = true)]
    private static partial long SystemCall(long number, long first, long second);
}
