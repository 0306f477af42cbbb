using System.Runtime.InteropServices;

namespace InferenceServer.Cpu.Memory.Interop;

/// <summary>The three calls of libc that big blocks need; Linux only. See mmap(2) and madvise(2).</summary>
internal static unsafe partial class LinuxMemory
{
    private const int ReadWrite = 1 | 2;
    private const int PrivateAnonymous = 0x02 | 0x20;
    private const int HugePageAdvice = 14;
    private const int NoHugePageAdvice = 15;

    /// <summary>New zeroed pages, or null when the system refuses.</summary>
    public static void* Map(nuint byteCount)
    {
        void* pointer = MemoryMap(null, byteCount, ReadWrite, PrivateAnonymous, -1, 0);
        return (nint)pointer == -1 ? null : pointer;
    }

    public static void Unmap(void* pointer, nuint byteCount) => _ = MemoryUnmap(pointer, byteCount);

    /// <summary>Asks for huge pages, or for none; a refusal only costs speed, so it is not an error.</summary>
    public static void AdviseHugePages(void* pointer, nuint byteCount, bool wanted) =>
        _ = MemoryAdvise(pointer, byteCount, wanted ? HugePageAdvice : NoHugePageAdvice);

    [LibraryImport("libc", EntryPoint = "mmap")]
    private static partial void* MemoryMap(void* address, nuint length, int protection, int flags, int file, nint offset);

    [LibraryImport("libc", EntryPoint = "munmap")]
    private static partial int MemoryUnmap(void* address, nuint length);

    [LibraryImport("libc", EntryPoint = "madvise")]
    private static partial int MemoryAdvise(void* address, nuint length, int advice);
}
