using InferenceServer.Cpu.Memory;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Adapters;

namespace InferenceServer.Cpu.Adapters;

/// <summary>An adapter in native memory.</summary>
internal sealed class CpuAdapter : DeviceAdapter
{
    private readonly AdapterPart?[] _parts;
    private NativeBlock? _lowRank;
    private readonly AdapterBlocks _blocks;

    /// <param name="label">name@digest, for messages.</param>
    /// <param name="parts">By module index; null where the adapter leaves the module alone.</param>
    /// <param name="lowRank">The memory of all A and B, owned from here on.</param>
    /// <param name="lowRankBytes">How much of it they take.</param>
    /// <param name="blocks">Where that memory goes back to.</param>
    public CpuAdapter(string label, AdapterPart?[] parts, NativeBlock lowRank, long lowRankBytes, AdapterBlocks blocks)
        : base(label, lowRankBytes + parts.Sum(part => part?.ByteCount ?? 0))
    {
        _parts = parts;
        _lowRank = lowRank;
        _blocks = blocks;
    }

    /// <summary>The CPU form of an adapter.</summary>
    /// <exception cref="ArgumentException">Another backend made it.</exception>
    public static CpuAdapter Of(DeviceAdapter adapter) =>
        adapter as CpuAdapter ?? throw new ArgumentException($"adapter '{adapter.Label}' belongs to another backend");

    /// <summary>What changes of a module, or null.</summary>
    public AdapterPart? Part(int module) => (uint)module < (uint)_parts.Length ? _parts[module] : null;

    public override bool Changes(int module) => Part(module) is not null;

    public override WeightMatrix? Replacement(int module) => Part(module)?.Replacement;

    public override bool ScalesInput(int module) => Part(module)?.InputScale is not null;

    public override bool ReplacesRows(int module) => Part(module)?.ReplacedRows is not null;

    public override DeviceBuffer? NormWeight(int module) => Part(module)?.NormWeight;

    public override DeviceBuffer? NormBias(int module) => Part(module)?.OutputBias;

    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            foreach (AdapterPart? part in _parts)
            {
                part?.Dispose();
            }

            // Once, however often it is disposed: the block may be another adapter's by then.
            if (Interlocked.Exchange(ref _lowRank, null) is { } lowRank)
            {
                _blocks.Return(lowRank);
            }
        }
    }
}
