using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using InferenceServer.Cpu.Memory;
using InferenceServer.Cpu.Threading;

namespace InferenceServer.Benchmarks.Kernels;

/// <summary>Reads memory as fast as plain loads can, with four streams a thread: the ceiling of everything that streams weights.</summary>
internal sealed unsafe class ReadBandwidth : ParallelJob, IDisposable
{
    private const int PieceBytes = 1 << 20;
    private readonly NativeBlock _block;
    private readonly WorkerPool _pool;
    private readonly long _sliceBytes;
    private byte* _start;

    public ReadBandwidth(int threads, long totalBytes, long sliceBytes)
    {
        _pool = new WorkerPool(threads);
        _block = new NativeBlock(totalBytes, "bandwidth");
        new Span<byte>(_block.Pointer, (int)totalBytes).Fill(1);
        _sliceBytes = sliceBytes;
    }

    /// <summary>What the last piece summed to, so that the loads are not optimised away.</summary>
    public float Sink { get; private set; }

    public void ReadSlice(int number)
    {
        _start = _block.Pointer + (number % (_block.ByteCount / _sliceBytes) * _sliceBytes);
        _pool.Run(this, (int)(_sliceBytes / PieceBytes), parallel: true);
    }

    public override void Execute(int item, int worker) => Sink = Sum((float*)(_start + ((long)item * PieceBytes)));

    public void Dispose()
    {
        _pool.Dispose();
        _block.Dispose();
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static float Sum(float* source)
    {
        // Four quarters of a piece side by side.
        const int Quarter = PieceBytes / sizeof(float) / 4;
        Vector512<float> a = default;
        Vector512<float> b = default;
        Vector512<float> c = default;
        Vector512<float> d = default;
        for (int i = 0; i < Quarter; i += Vector512<float>.Count)
        {
            a += Vector512.Load(source + i);
            b += Vector512.Load(source + Quarter + i);
            c += Vector512.Load(source + (2 * Quarter) + i);
            d += Vector512.Load(source + (3 * Quarter) + i);
        }

        return Vector512.Sum(a + b + c + d);
    }
}
