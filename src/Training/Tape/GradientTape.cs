using InferenceServer.Tensors;

namespace InferenceServer.Training.Tape;

/// <summary>
/// What the forward did, so that it can be gone through backwards. Every activation buffer has a gradient buffer of the same geometry,
/// and memory keeps its meaning: an operation that overwrites y takes y's gradient and leaves zeros, because what y held before never
/// reached the loss through it; one that adds to y leaves y's gradient as it is.
/// </summary>
internal sealed class GradientTape : IDisposable
{
    private readonly IComputeBackend _backend;
    private readonly TapeMemory _memory;
    private readonly Stack<Action> _steps = new();
    private readonly Dictionary<DeviceBuffer, DeviceBuffer> _gradients = [];
    private readonly Dictionary<DeviceBuffer, int> _versions = [];
    private readonly Dictionary<(DeviceBuffer Buffer, long Offset, int Rows, int Columns), (int Version, TensorView Copy)> _kept = [];

    public GradientTape(IComputeBackend backend, ITrainingBackend operations)
    {
        _backend = backend;
        Operations = operations;
        _memory = new TapeMemory(backend);
    }

    public ITrainingBackend Operations { get; }

    /// <summary>Whether a backward pass will follow; without one nothing is kept.</summary>
    public bool IsRecording { get; set; }

    /// <summary>Where the random choices of the forward begin; set before each one.</summary>
    public ulong Seed { get; set; }

    /// <summary>Bytes of kept activations and gradients of activations.</summary>
    public long ByteCount => _memory.ByteCount + _gradients.Values.Sum(buffer => buffer.ByteCount);

    /// <summary>The gradient of an activation.</summary>
    public TensorView GradientOf(TensorView x)
    {
        if (!_gradients.TryGetValue(x.Buffer, out DeviceBuffer? gradient))
        {
            gradient = _backend.Allocate(x.Buffer.ByteCount, "gradient of " + x.Buffer.Label);
            _gradients.Add(x.Buffer, gradient);
        }

        return new TensorView(gradient, x.Offset, x.Rows, x.Columns, x.RowStride);
    }

    /// <summary>Room with anything in it; until <see cref="Reset"/>, or within a backward step until that step ends.</summary>
    public TensorView Take(int rows, int columns) => _memory.Take(rows, columns);

    /// <summary>What an activation holds now, for the backward pass; copied once however often it is asked for before it changes.</summary>
    public TensorView Keep(TensorView x)
    {
        (DeviceBuffer, long, int, int) key = (x.Buffer, x.Offset, x.Rows, x.Columns);
        int version = _versions.GetValueOrDefault(x.Buffer);
        if (_kept.TryGetValue(key, out (int Version, TensorView Copy) kept) && kept.Version == version)
        {
            return kept.Copy;
        }

        TensorView copy = Take(x.Rows, x.Columns);
        Operations.Copy(x, copy);
        _kept[key] = (version, copy);
        return copy;
    }

    /// <summary>To be called by whoever wrote to an activation.</summary>
    public void Changed(TensorView y) => _versions[y.Buffer] = _versions.GetValueOrDefault(y.Buffer) + 1;

    /// <summary>A seed for one random choice of the forward.</summary>
    public ulong NextSeed()
    {
        // Far apart, so that the element numbers that are added to seeds do not meet.
        Seed += 1UL << 40;
        return Seed;
    }

    /// <summary>Remembers how to go back through what was just done.</summary>
    public void Record(Action backward) => _steps.Push(backward);

    /// <summary>Zeroes the gradients of all activations; before the loss writes the first one.</summary>
    public void ClearGradients()
    {
        foreach (DeviceBuffer gradient in _gradients.Values)
        {
            Operations.Clear(new TensorView(gradient, 1, checked((int)(gradient.ByteCount / sizeof(float)))));
        }
    }

    /// <summary>Goes through everything recorded, last first.</summary>
    public void Backward()
    {
        while (_steps.TryPop(out Action? step))
        {
            (int, long) mark = _memory.Mark;
            step();
            _memory.Release(mark);
        }
    }

    /// <summary>Forgets the step; its memory is used again.</summary>
    public void Reset()
    {
        _steps.Clear();
        _kept.Clear();
        _memory.Release((0, 0));
    }

    public void Dispose()
    {
        _memory.Dispose();
        foreach (DeviceBuffer gradient in _gradients.Values)
        {
            gradient.Dispose();
        }
    }
}
