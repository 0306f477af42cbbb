using System.Runtime.InteropServices;

namespace InferenceServer.Cpu.Memory.Interop;

/// <summary>
/// A roomier stack for the signals of a thread. On a thread that has used tiles Linux saves 11 KB of registers for each signal, ever after; of the 12 KB
/// that .NET sets aside for its handlers (of null references, SIGTERM) that leaves too little, and the process would end where an exception was due.
/// </summary>
/// <remarks>sigaltstack(2); "Dynamic features in signal frames" in the kernel's Documentation/arch/x86/xstate.rst.</remarks>
internal sealed unsafe partial class LinuxSignalStack
{
    /// <summary>Bytes for signals, several times what is known to be needed.</summary>
    public const int Bytes = 64 << 10;

    private const int GuardBytes = 4096;
    private const int ReadWrite = 3;
    private const int PrivateAnonymous = 0x22;
    private const int IsInUse = 1;
    private static readonly void* s_failed = (void*)-1;

    [ThreadStatic]
    private static LinuxSignalStack? s_own;

    private readonly void* _memory;

    private LinuxSignalStack(void* memory) => _memory = memory;

    // Unreachable means that the thread has ended, which has taken the stack out of use.
    ~LinuxSignalStack() => _ = UnmapMemory(_memory, GuardBytes + Bytes);

    /// <summary>Gives this thread such a stack unless it has one; where the system has no memory for it, all stays as it was.</summary>
    public static void Enlarge()
    {
        if (s_own is null)
        {
            s_own = Install();
        }
    }

    /// <summary>Bytes of this thread's stack for signals; 0 for none.</summary>
    public static nint CurrentBytes()
    {
        Description current = default;
        return SetSignalStack(null, &current) == 0 ? current.Size : 0;
    }

    private static LinuxSignalStack? Install()
    {
        void* memory = MapMemory(null, GuardBytes + Bytes, ReadWrite, PrivateAnonymous, -1, 0);
        if (memory == s_failed)
        {
            return null;
        }

        // What overflows faults at the lowest page.
        Description wanted = new() { Start = (byte*)memory + GuardBytes, Size = Bytes };
        Description current = default;
        if (Protect(memory, GuardBytes, 0) == 0
            && SetSignalStack(null, &current) == 0
            && (current.Flags & IsInUse) == 0
            && current.Size < Bytes
            && SetSignalStack(&wanted, null) == 0)
        {
            return new LinuxSignalStack(memory);
        }

        _ = UnmapMemory(memory, GuardBytes + Bytes);
        return null;
    }

    [LibraryImport("libc", EntryPoint = "sigaltstack")]
    private static partial int SetSignalStack(Description* wanted, Description* current);

    [LibraryImport("libc", EntryPoint = "mmap")]
    private static partial void* MapMemory(void* address, nuint length, int protection, int flags, int file, nint offset);

    [LibraryImport("libc", EntryPoint = "mprotect")]
    private static partial int Protect(void* address, nuint length, int protection);

    [LibraryImport("libc", EntryPoint = "munmap")]
    private static partial int UnmapMemory(void* address, nuint length);

    /// <summary>stack_t.</summary>
    private struct Description
    {
        public void* Start;
        public int Flags;
        public nint Size;
    }
}
