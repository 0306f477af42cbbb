using InferenceServer.Tensors;

namespace InferenceServer.Cpu.Memory;

/// <summary>A device buffer in native memory.</summary>
internal sealed unsafe class CpuBuffer : DeviceBuffer
{
    private readonly NativeBlock _block;

    public CpuBuffer(long byteCount, string label, bool hugePages = true)
        : base(byteCount, label) => _block = new NativeBlock(byteCount, label, hugePages);

    /// <summary>First element; valid until disposed.</summary>
    public float* Pointer => (float*)_block.Pointer;

    /// <summary>The CPU memory behind a buffer.</summary>
    /// <exception cref="ArgumentException">Another backend made it.</exception>
    public static CpuBuffer Of(DeviceBuffer buffer) =>
        buffer as CpuBuffer ?? throw new ArgumentException($"buffer '{buffer.Label}' belongs to another backend");

    /// <summary>First element of a view.</summary>
    public static float* PointerOf(TensorView view) => Of(view.Buffer).Pointer + view.Offset;

    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            _block.Dispose();
        }
    }
}
