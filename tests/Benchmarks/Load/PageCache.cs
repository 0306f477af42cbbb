using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace InferenceServer.Benchmarks.Load;

/// <summary>Asks Linux to forget what it holds of a file, so that the next read comes from the disk.</summary>
internal static partial class PageCache
{
    // POSIX_FADV_DONTNEED of Linux on all its architectures but s390.
    private const int DontNeed = 4;

    /// <summary>Best effort: pages that somebody else maps stay. The file's own data must have been synced.</summary>
    /// <exception cref="IOException">The system refused.</exception>
    public static void Forget(FileStream file)
    {
        int error = Advise(file.SafeFileHandle, 0, 0, DontNeed);
        if (error != 0)
        {
            throw new IOException($"posix_fadvise of '{file.Name}' gave error {error}");
        }
    }

    // https://man7.org/linux/man-pages/man2/posix_fadvise.2.html
    [LibraryImport("libc", EntryPoint = "posix_fadvise")]
    private static partial int Advise(SafeFileHandle file, long offset, long length, int advice);
}
