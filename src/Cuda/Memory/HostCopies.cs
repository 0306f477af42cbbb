using InferenceServer.Cuda.Devices;
using InferenceServer.Cuda.Interop;

namespace InferenceServer.Cuda.Memory;

/// <summary>
/// Copies between host and device by way of pinned memory. Those to the device have a stream of their own, so that a load beside running steps
/// neither waits for them nor holds them up; each is done when its call returns.
/// </summary>
internal sealed unsafe class HostCopies : IDisposable
{
    private const long StagingBytes = 8 << 20;

    private readonly CudaDevice _device;
    private readonly CudaStream _stream = new();
    private readonly Lock _gate = new();
    private readonly PinnedBuffer _upload = new(StagingBytes); // under _gate
    private PinnedBuffer _download = new(1 << 20); // the thread of the operations

    public HostCopies(CudaDevice device) => _device = device;

    /// <summary>Zeroes a buffer; any thread.</summary>
    public void Clear(CudaBuffer buffer)
    {
        lock (_gate)
        {
            _device.MakeCurrent();
            CudaDriver.Check(CudaDriver.Fill(buffer.Address, 0, (nuint)Math.Max(buffer.ByteCount, 1), _stream.Pointer), $"clearing '{buffer.Label}'");
            _stream.Synchronize();
        }
    }

    /// <summary>Copies host memory to the device; any thread.</summary>
    public void ToDevice(void* source, long byteCount, ulong target)
    {
        lock (_gate)
        {
            _device.MakeCurrent();
            for (long done = 0; done < byteCount; done += StagingBytes)
            {
                long count = Math.Min(StagingBytes, byteCount - done);
                Buffer.MemoryCopy((byte*)source + done, _upload.Pointer, StagingBytes, count);
                CudaDriver.Check(CudaDriver.CopyToDevice(target + (ulong)done, _upload.Pointer, (nuint)count, _stream.Pointer), "copy to the device");
                _stream.Synchronize();
            }
        }
    }

    /// <summary>Copies device memory to the host; any thread, beside running steps.</summary>
    public void ToHost(ulong source, long byteCount, void* target)
    {
        lock (_gate)
        {
            _device.MakeCurrent();
            for (long done = 0; done < byteCount; done += StagingBytes)
            {
                long count = Math.Min(StagingBytes, byteCount - done);
                CudaDriver.Check(CudaDriver.CopyToHost(_upload.Pointer, source + (ulong)done, (nuint)count, _stream.Pointer), "copy from the device");
                _stream.Synchronize();
                Buffer.MemoryCopy(_upload.Pointer, (byte*)target + done, count, count);
            }
        }
    }

    /// <summary>Copies the rows of a view to dense host memory, behind all work of the operations' stream; their thread only.</summary>
    public void ToHost(CudaStream stream, ulong source, int rows, int columns, int rowStride, float* target)
    {
        long span = rows == 0 ? 0 : (((long)(rows - 1) * rowStride) + columns) * sizeof(float);
        if (_download.ByteCount < span)
        {
            _download.Dispose();
            _download = new PinnedBuffer(Math.Max(span, 2 * _download.ByteCount));
        }

        if (span > 0)
        {
            CudaDriver.Check(CudaDriver.CopyToHost(_download.Pointer, source, (nuint)span, stream.Pointer), "copy from the device");
        }

        stream.Synchronize();
        float* from = (float*)_download.Pointer;
        for (int row = 0; row < rows; row++)
        {
            new ReadOnlySpan<float>(from + ((long)row * rowStride), columns).CopyTo(new Span<float>(target + ((long)row * columns), columns));
        }
    }

    public void Dispose()
    {
        _stream.Dispose();
        _upload.Dispose();
        _download.Dispose();
    }
}
