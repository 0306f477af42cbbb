using InferenceServer.Cuda.Compilation;
using InferenceServer.Cuda.Devices;
using InferenceServer.Cuda.Interop;

namespace InferenceServer.Cuda.Launching;

/// <summary>Launches in their order, as plain numbers: compared, kept and launched later. Grows once and allocates nothing after that.</summary>
internal sealed unsafe class LaunchList
{
    // Function, grid x | y, grid z | threads, shared bytes | arguments; then the arguments.
    private const int HeaderLength = 4;

    private ulong[] _words = new ulong[4096];
    private int _length;

    public ReadOnlySpan<ulong> Words => _words.AsSpan(0, _length);

    public bool IsEmpty => _length == 0;

    public void Clear() => _length = 0;

    public void Add(KernelFunction function, Grid grid, ReadOnlySpan<KernelArgument> arguments)
    {
        int needed = _length + HeaderLength + arguments.Length;
        if (needed > _words.Length)
        {
            Array.Resize(ref _words, Math.Max(needed, _words.Length * 2));
        }

        Span<ulong> words = _words.AsSpan(_length, HeaderLength + arguments.Length);
        words[0] = (ulong)function.Handle;
        words[1] = (uint)grid.X | ((ulong)(uint)grid.Y << 32);
        words[2] = (uint)grid.Z | ((ulong)(uint)function.Threads << 32);
        words[3] = (uint)function.SharedBytes | ((ulong)(uint)arguments.Length << 32);
        for (int i = 0; i < arguments.Length; i++)
        {
            words[HeaderLength + i] = arguments[i].Bits;
        }

        _length = needed;
    }

    /// <summary>Launches words of a list, in order.</summary>
    public static void Launch(ReadOnlySpan<ulong> words, CudaStream stream)
    {
        void** arguments = stackalloc void*[64];
        fixed (ulong* first = words)
        {
            for (int at = 0; at < words.Length;)
            {
                ulong* header = first + at;
                int count = (int)(header[3] >> 32);
                for (int i = 0; i < count; i++)
                {
                    arguments[i] = header + HeaderLength + i;
                }

                CudaDriver.Check(
                    CudaDriver.LaunchKernel(
                        (nint)header[0],
                        (uint)header[1],
                        (uint)(header[1] >> 32),
                        (uint)header[2],
                        (uint)(header[2] >> 32),
                        1,
                        1,
                        (uint)header[3],
                        stream.Pointer,
                        arguments,
                        null),
                    "cuLaunchKernel");
                at += HeaderLength + count;
            }
        }
    }
}
