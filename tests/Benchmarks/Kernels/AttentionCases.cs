using InferenceServer.Tensors;
using InferenceServer.Tensors.Steps;
using InferenceServer.TestKit.ReferenceMaths;

namespace InferenceServer.Benchmarks.Kernels;

/// <summary>Attention of 32 heads of 128 over 8 kv heads: decoding at long contexts, and a prefill.</summary>
internal sealed class AttentionCases : IDisposable
{
    private const int Heads = 32;
    private const int KvHeads = 8;
    private const int HeadSize = 128;
    private const int Layers = 8;
    private const int BlockSize = 16;
    private const int MaxContext = 4096;
    private const int Sequences = 8;
    private const int MaxRows = 512;

    private readonly KvCache _cache;
    private readonly DeviceBuffer _q;
    private readonly DeviceBuffer _y;
    private int _next;

    public AttentionCases(IComputeBackend backend)
    {
        AttentionParameters parameters = new(Heads, KvHeads, HeadSize, 0.088f, 0, 0);
        int blocks = MaxContext / BlockSize;
        _cache = backend.CreateKvCache(new KvCacheShape(Layers, blocks, BlockSize, KvHeads, HeadSize));
        _q = backend.Allocate(MaxRows * Heads * HeadSize * sizeof(float), "q");
        _y = backend.Allocate(MaxRows * Heads * HeadSize * sizeof(float), "y");
        backend.Write(HostTensor.Random(MaxRows, Heads * HeadSize, 1).Values, _q);
        int[] table = [.. Enumerable.Range(0, blocks)];
        Fill();
        Measurements.Add(Case("attention decode, context 512", 1, 1, 512));
        Measurements.Add(Case("attention decode, context 4096", 1, 1, MaxContext));
        Measurements.Add(Case("attention decode of 8, context 512", Sequences, 1, 512));
        Measurements.Add(Case("attention prefill of 512", 1, MaxRows, MaxRows));

        void Fill()
        {
            // All layers hold what a sequence of the full context would have stored.
            StepInputs step = new(MaxRows, 1);
            TensorView keys = new(_q, 0, MaxRows, KvHeads * HeadSize, Heads * HeadSize);
            for (int first = 0; first < MaxContext; first += MaxRows)
            {
                step.Clear();
                step.AddSequence(new int[MaxRows], first, table);
                backend.BeginStep(step);
                for (int layer = 0; layer < Layers; layer++)
                {
                    backend.StoreKv(keys, keys, _cache, layer);
                }
            }
        }

        Measurement Case(string name, int sequences, int rows, int context)
        {
            // Sequences share blocks here: each reads its context once, as it would its own.
            StepInputs step = new(sequences * rows, sequences);
            for (int i = 0; i < sequences; i++)
            {
                int first = i * (context / BlockSize) % blocks;
                step.AddSequence(new int[rows], context - rows, table.AsSpan(Math.Min(first, blocks - (context / BlockSize)), context / BlockSize));
            }

            TensorView q = new(_q, sequences * rows, Heads * HeadSize);
            TensorView y = new(_y, sequences * rows, Heads * HeadSize);
            double pairs = sequences * ((rows * (double)(context - rows)) + (rows * (rows + 1) / 2.0));
            return new Measurement(
                name,
                rows > 1 ? 0 : 2.0 * sequences * context * KvHeads * HeadSize * sizeof(float),
                4 * pairs * Heads * HeadSize,
                _ =>
                {
                    backend.BeginStep(step);
                    backend.PagedAttention(q, _cache, _next++ % Layers, parameters, y);
                });
        }
    }

    public List<Measurement> Measurements { get; } = [];

    public void Dispose()
    {
        _cache.Dispose();
        _q.Dispose();
        _y.Dispose();
    }
}
