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

    /// <summary>Whether a backward pass through what is done now will follow; without one nothing is kept.</summary>
    public bool IsRecording { get; set; }

    /// <summary>Whether the forward is one of training, with its random choices; also while nothing is kept because it will be repeated.</summary>
    public bool IsTraining { get; set; }

    /// <summary>Where the random choices of the forward begin; set before each one.</summary>
    public ulong Seed { get; set; }

    /// <summary>Most bytes of kept activations and gradients of activations at once.</summary>
    public long PeakBytes => _memory.PeakBytes + OwnGradients.Sum(buffer => buffer.ByteCount);

    /// <summary>Where the tape is now; what comes after it can be gone through, and its memory given back, on its own.</summary>
    public TapeMark Mark => new(_steps.Count, _memory.Mark);

    private IEnumerable<DeviceBuffer> OwnGradients => _gradients.Where(pair => pair.Key != pair.Value).Select(pair => pair.Value);

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

    /// <summary>Lets the gradient of an activation take its place: whoever computes it overwrites what nobody reads any more.</summary>
    public void ShareMemory(TensorView x) => _gradients.TryAdd(x.Buffer, x.Buffer);

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
        foreach (DeviceBuffer gradient in OwnGradients)
        {
            Operations.Clear(new TensorView(gradient, 1, checked((int)(gradient.ByteCount / sizeof(float)))));
        }
    }

    /// <summary>Goes through what was recorded since the mark, or all of it, last first, and gives its memory back.</summary>
    public void Backward(TapeMark mark = default)
    {
        while (_steps.Count > mark.Steps)
        {
            (int, long, long) before = _memory.Mark;
            _steps.Pop()();
            _memory.Release(before);
        }

        Release(mark);
    }

    /// <summary>Gives back the memory taken since the mark; nothing recorded since then may need it.</summary>
    public void Release(TapeMark mark)
    {
        _kept.Clear();
        _memory.Release(mark.Memory);
    }

    /// <summary>Forgets the step; its memory is used again.</summary>
    public void Reset()
    {
        _steps.Clear();
        _kept.Clear();
        _memory.Release((0, 0, 0));
    }

    public void Dispose()
    {
        _memory.Dispose();
        foreach (DeviceBuffer gradient in OwnGradients)
        {
            gradient.Dispose();
        }
    }
}
