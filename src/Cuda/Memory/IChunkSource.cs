using InferenceServer.Tensors;

namespace InferenceServer.Cuda.Memory;

/// <summary>Where a <see cref="PagePool"/> gets the memory that it cuts into pages. The pool's lock guards it.</summary>
internal interface IChunkSource
{
    /// <summary>Bytes that the pool has of it, spare ones included.</summary>
    long HeldBytes { get; }

    /// <summary>Takes a chunk.</summary>
    /// <param name="byteCount">At least so many bytes.</param>
    /// <exception cref="DeviceMemoryException">There is no room.</exception>
    CudaBuffer Take(long byteCount);

    /// <summary>Takes a chunk back that no page is taken of and nothing under way uses.</summary>
    void Return(CudaBuffer chunk);

    /// <summary>Frees what is spare; waits for the device's work.</summary>
    void Trim();
}
