using System.Runtime.InteropServices;

namespace InferenceServer.TestKit.Conformance;

/// <summary>
/// Memory that ends right before a page nobody may touch: a kernel that reads or writes one element too far kills the test run at once.
/// Linux only; elsewhere the memory is plain and <see cref="IsGuarded"/> says so.
/// </summary>
public sealed unsafe partial class GuardPageMemory : IDisposable
{
    private const int PageBytes = 1 << 16;
    private const int ReadWrite = 1 | 2;
    private const int PrivateAnonymous = 0x02 | 0x20;

    private readonly void* _mapping;

    public GuardPageMemory()
    {
        IsGuarded = OperatingSystem.IsLinux();
        if (!IsGuarded)
        {
            _mapping = NativeMemory.AllocZeroed(PageBytes);
            return;
        }

        _mapping = Map(null, 2 * PageBytes, ReadWrite, PrivateAnonymous, -1, 0);
        if ((nint)_mapping == -1 || Protect((byte*)_mapping + PageBytes, PageBytes, 0) != 0)
        {
            throw new InvalidOperationException("no guarded memory");
        }
    }

    /// <summary>Whether the guard is there.</summary>
    public bool IsGuarded { get; }

    /// <summary>The last <paramref name="count"/> floats before the guard, filled by seed.</summary>
    public Span<float> Last(int count, int seed)
    {
        Span<float> span = new((byte*)_mapping + PageBytes - (count * sizeof(float)), count);
        ReferenceMaths.HostTensor.Random(1, count, seed).Values.CopyTo(span);
        return span;
    }

    public void Dispose()
    {
        if (IsGuarded)
        {
            _ = Unmap(_mapping, 2 * PageBytes);
        }
        else
        {
            NativeMemory.Free(_mapping);
        }
    }

    [LibraryImport("libc", EntryPoint = "mmap")]
    private static partial void* Map(void* address, nuint length, int protection, int flags, int file, nint offset);

    [LibraryImport("libc", EntryPoint = "mprotect")]
    private static partial int Protect(void* address, nuint length, int protection);

    [LibraryImport("libc", EntryPoint = "munmap")]
    private static partial int Unmap(void* address, nuint length);
}
