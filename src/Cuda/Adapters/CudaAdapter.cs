using InferenceServer.Cuda.Memory;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Adapters;

namespace InferenceServer.Cuda.Adapters;

/// <summary>
/// An adapter in device memory. Kernels find all of it from the address of its <see cref="PartRecord"/>s, which a step's tables carry: so
/// adapters come and go without another launch, and there is no number of places to run out of.
/// </summary>
internal sealed class CudaAdapter : DeviceAdapter
{
    private readonly CudaPart?[] _parts;
    private readonly PageSet _pages;
    private int _holds = 1;
    private int _isDisposed;

    /// <param name="label">name@digest, for messages.</param>
    /// <param name="byteCount">Bytes of all matrices and vectors.</param>
    /// <param name="parts">By module index; null where the adapter leaves the module alone.</param>
    /// <param name="records">Address of as many <see cref="PartRecord"/>s.</param>
    /// <param name="isPlain">See <see cref="IsPlain"/>.</param>
    /// <param name="pages">All its memory but replaced weights; owned from here on.</param>
    /// <param name="sharedBytes">See <see cref="SharedByteCount"/>.</param>
    public CudaAdapter(string label, long byteCount, CudaPart?[] parts, ulong records, bool isPlain, PageSet pages, long sharedBytes)
        : base(label, byteCount)
    {
        _parts = parts;
        _pages = pages;
        Records = records;
        IsPlain = isPlain;
        SharedByteCount = sharedBytes;
    }

    public override long SharedByteCount { get; }

    /// <summary>Device address of one <see cref="PartRecord"/> for each module.</summary>
    public ulong Records { get; }

    /// <summary>Modules that have a record; the adapter leaves all others alone.</summary>
    public int ModuleCount => _parts.Length;

    /// <summary>Whether all A and B are bf16 and none has a gate, as tiles of rows want them.</summary>
    public bool IsPlain { get; }

    /// <summary>The CUDA form of an adapter.</summary>
    /// <exception cref="ArgumentException">Another backend made it.</exception>
    public static CudaAdapter Of(DeviceAdapter adapter) =>
        adapter as CudaAdapter ?? throw new ArgumentException($"adapter '{adapter.Label}' belongs to another backend");

    /// <summary>What changes of a module, or null.</summary>
    public CudaPart? Part(int module) => (uint)module < (uint)_parts.Length ? _parts[module] : null;

    public override bool Changes(int module) => Part(module) is not null;

    public override WeightMatrix? Replacement(int module) => Part(module)?.Replacement;

    public override bool ScalesInput(int module) => Part(module)?.ScalesInput ?? false;

    public override bool ReplacesRows(int module) => Part(module) is { ReplacedColumns: > 0 };

    public override DeviceBuffer? NormWeight(int module) => Part(module)?.NormWeight;

    public override DeviceBuffer? NormBias(int module) => Part(module)?.OutputBias;

    /// <summary>Keeps the memory until <see cref="LetGo"/>; the owner must not have disposed of the adapter before.</summary>
    public void Hold() => Interlocked.Increment(ref _holds);

    /// <summary>Frees the memory if the owner is done with it too.</summary>
    public void LetGo()
    {
        if (Interlocked.Decrement(ref _holds) == 0)
        {
            foreach (CudaPart? part in _parts)
            {
                part?.Replacement?.Dispose();
            }

            _pages.Dispose();
        }
    }

    protected override void Dispose(bool disposing)
    {
        if (disposing && Interlocked.Exchange(ref _isDisposed, 1) == 0)
        {
            LetGo();
        }
    }
}
