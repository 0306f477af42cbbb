using System.Globalization;
using InferenceServer.Benchmarks.Gpu.Models;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Steps;

namespace InferenceServer.Benchmarks.Gpu.Kernels;

/// <summary>Attention: decoding rows at two contexts, and prefills. Several layers take turns, so that no cache holds what was read.</summary>
internal sealed class AttentionKernelCases : IDisposable
{
    private const int Layers = 8;
    private const int BlockSize = 16;
    private const int Tokens = 64 * 1024;
    private const int MaxRows = 2048;

    private static readonly (int Sequences, int Context)[] s_decodes = [(1, 1024), (16, 1024), (64, 1024), (1, 8192), (8, 8192)];
    private static readonly int[] s_prefills = [512, 2048];

    private readonly IComputeBackend _backend;
    private readonly ModelDimensions _shape;
    private readonly KvCache _cache;
    private readonly DeviceBuffer _q;
    private readonly DeviceBuffer _y;

    public AttentionKernelCases(IComputeBackend backend, ModelDimensions shape)
    {
        _backend = backend;
        _shape = shape;
        _cache = backend.CreateKvCache(new KvCacheShape(Layers, Tokens / BlockSize, BlockSize, shape.KvHeads, shape.HeadSize, backend.KeyValueFormat));
        long bytes = (long)MaxRows * shape.Heads * shape.HeadSize * sizeof(float);
        _q = backend.Allocate(bytes, "q");
        _y = backend.Allocate(bytes, "y");
        RandomFill.Write(backend, _q);
        FillCache();
    }

    public IEnumerable<KernelCase> Cases =>
        [.. s_decodes.Select(one => Case("decode", one.Sequences, one.Sequences, one.Context)), .. s_prefills.Select(rows => Case("prefill", 1, rows, rows))];

    public void Dispose()
    {
        _cache.Dispose();
        _q.Dispose();
        _y.Dispose();
    }

    private KernelCase Case(string kind, int sequences, int rows, int context)
    {
        int blocksEach = context / BlockSize;
        StepInputs step = KernelStage.Step(rows, sequences, context, i => [.. Enumerable.Range(i * blocksEach, blocksEach)]);
        int width = _shape.Heads * _shape.HeadSize;
        TensorView q = new(_q, rows, width), y = new(_y, rows, width);
        AttentionParameters parameters = new(_shape.Heads, _shape.KvHeads, _shape.HeadSize, 1 / MathF.Sqrt(_shape.HeadSize), 0, 0);
        double pairs = rows > sequences ? rows * (rows + 1.0) / 2 : (double)rows * context;
        double keyValues = (double)_cache.Shape.BytesPerBlock / BlockSize / Layers * sequences * context;
        return new KernelCase(
            string.Create(CultureInfo.InvariantCulture, $"attention, {kind} of {rows}, context {context}"),
            keyValues + (8.0 * rows * width),
            4 * pairs * width,
            step,
            number => _backend.PagedAttention(q, _cache, number % Layers, parameters, y));
    }

    private void FillCache()
    {
        TensorView keys = new(_q, 0, MaxRows, _shape.KvHeads * _shape.HeadSize, _shape.Heads * _shape.HeadSize);
        int[] blocks = [.. Enumerable.Range(0, Tokens / BlockSize)];
        StepInputs step = new(MaxRows, 1);
        for (int first = 0; first < Tokens; first += MaxRows)
        {
            step.Clear();
            step.AddSequence(new int[MaxRows], first, blocks);
            _backend.BeginStep(step);
            for (int layer = 0; layer < Layers; layer++)
            {
                _backend.StoreKv(keys, keys, _cache, layer);
            }
        }
    }
}
