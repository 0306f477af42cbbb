using InferenceServer.Tensors;

namespace InferenceServer.Training.Tape;

/// <summary>Memory that is taken piece by piece and given back all at once, or back to a mark; kept from step to step.</summary>
internal sealed class TapeMemory : IDisposable
{
    private const long ChunkFloats = 4L << 20;

    /// <summary>Pieces begin at multiples of a cache line.</summary>
    private const long Alignment = 16;

    private readonly IComputeBackend _backend;
    private readonly List<DeviceBuffer> _chunks = [];
    private (int Chunk, long Offset, long Used) _next;
    private long _mostUsed;

    public TapeMemory(IComputeBackend backend) => _backend = backend;

    /// <summary>Most bytes that were in use at once; what is taken from the backend is a whole number of chunks.</summary>
    public long PeakBytes => _mostUsed * sizeof(float);

    /// <summary>Where the next piece will begin, and how much is in use before it.</summary>
    public (int Chunk, long Offset, long Used) Mark => _next;

    /// <summary>A dense matrix with anything in it.</summary>
    public TensorView Take(int rows, int columns)
    {
        long count = (((long)rows * columns) + Alignment - 1) / Alignment * Alignment;
        while (_next.Chunk < _chunks.Count && _next.Offset + count > _chunks[_next.Chunk].ByteCount / sizeof(float))
        {
            _next = (_next.Chunk + 1, 0, _next.Used);
        }

        if (_next.Chunk == _chunks.Count)
        {
            _chunks.Add(_backend.Allocate(Math.Max(count, ChunkFloats) * sizeof(float), "activations kept for the backward pass"));
        }

        TensorView view = new(_chunks[_next.Chunk], _next.Offset, rows, columns, columns);
        _next.Offset += count;
        _next.Used += count;
        _mostUsed = Math.Max(_mostUsed, _next.Used);
        return view;
    }

    /// <summary>Gives back everything taken since the mark.</summary>
    public void Release((int Chunk, long Offset, long Used) mark) => _next = mark;

    public void Dispose()
    {
        foreach (DeviceBuffer chunk in _chunks)
        {
            chunk.Dispose();
        }
    }
}
