using System.Runtime.InteropServices;

namespace InferenceServer.Tensors.Interop;

/// <summary>The call of libc that .NET's memory-mapped files lack; Linux only. See madvise(2).</summary>
internal static unsafe partial class LinuxMapping
{
    private const int NotNeeded = 4;
    private const int HugePages = 14;
    private const int PopulateRead = 22;

    /// <summary>
    /// Takes the whole pages of a range out of this process's memory; they stay in the page cache. For mappings of files only: anonymous
    /// memory would be lost. A refusal only costs memory, so it is not an error.
    /// </summary>
    public static void Release(byte* start, nuint byteCount)
    {
        // Rounded outwards: a neighbour's page that goes too comes back when it is read.
        nuint page = (nuint)Environment.SystemPageSize;
        nuint first = (nuint)start & ~(page - 1);
        _ = MemoryAdvise((void*)first, (nuint)start + byteCount - first, NotNeeded);
    }

    /// <summary>Asks for pages of 2 MB; a refusal only costs speed, so it is not an error.</summary>
    public static void AdviseHugePages(byte* start, nuint byteCount) => _ = MemoryAdvise(start, byteCount, HugePages);

    /// <summary>Reads whole pages in. A page that cannot be read gives false here and would be a signal later.</summary>
    /// <returns>False also where the kernel does not know the request (before Linux 5.14).</returns>
    public static bool TryPopulate(byte* start, nuint byteCount) => MemoryAdvise(start, byteCount, PopulateRead) == 0;

    [LibraryImport("libc", EntryPoint = "madvise")]
    private static partial int MemoryAdvise(void* address, nuint length, int advice);
}
