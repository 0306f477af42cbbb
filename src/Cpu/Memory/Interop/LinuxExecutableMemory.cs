using System.Runtime.InteropServices;

namespace InferenceServer.Cpu.Memory.Interop;

/// <summary>Memory that code is written to, then run from: never both at once.</summary>
internal static unsafe partial class LinuxExecutableMemory
{
    private const int ProtectRead = 1;
    private const int ProtectWrite = 2;
    private const int ProtectExecute = 4;
    private const int MapPrivate = 2;
    private const int MapAnonymous = 0x20;
    private static readonly void* s_failed = (void*)-1;

    /// <summary>Writable pages.</summary>
    /// <exception cref="InsufficientMemoryException">The system gives none.</exception>
    public static byte* Map(nuint bytes)
    {
        void* address = MapMemory(null, bytes, ProtectRead | ProtectWrite, MapPrivate | MapAnonymous, -1, 0);
        return address == s_failed
            ? throw new InsufficientMemoryException($"mmap of {bytes} bytes of code failed, errno {Marshal.GetLastPInvokeError()}")
            : (byte*)address;
    }

    /// <summary>Makes the pages executable and no longer writable; false where the system forbids it.</summary>
    public static bool TryMakeExecutable(byte* address, nuint bytes) => Protect(address, bytes, ProtectRead | ProtectExecute) == 0;

    public static void Unmap(byte* address, nuint bytes) => _ = UnmapMemory(address, bytes);

    [LibraryImport("libc", EntryPoint = "mmap", SetLastError = true)]
    private static partial void* MapMemory(void* address, nuint length, int protection, int flags, int file, nint offset);

    [LibraryImport("libc", EntryPoint = "mprotect", SetLastError = true)]
    private static partial int Protect(void* address, nuint length, int protection);

    [LibraryImport("libc", EntryPoint = "munmap", SetLastError = true)]
    private static partial int UnmapMemory(void* address, nuint length);
}
