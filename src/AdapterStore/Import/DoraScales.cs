using System.Buffers;
using System.Numerics.Tensors;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Adapters;

namespace InferenceServer.AdapterStore.Import;

/// <summary>
/// DoRA's factor of each output row, <c>g = m / |W + s B A|</c>: a pass over the base weights, so values of an earlier import are taken
/// when there are any.
/// </summary>
internal sealed class DoraScales
{
    private const int ChunkElements = 1 << 18;

    private readonly ModelShape _model;
    private readonly IReadOnlyDictionary<string, float[]>? _known;
    private readonly CancellationToken _cancellation;
    private readonly Dictionary<string, float[]> _all = new(StringComparer.Ordinal);

    public DoraScales(ModelShape model, IReadOnlyDictionary<string, float[]>? known, CancellationToken cancellation)
    {
        _model = model;
        _known = known;
        _cancellation = cancellation;
    }

    /// <summary>Every factor handed out, by module path.</summary>
    public IReadOnlyDictionary<string, float[]> All => _all;

    /// <summary>The factors of a module.</summary>
    /// <param name="module">A linear module.</param>
    /// <param name="magnitude">m, <c>[out]</c>.</param>
    /// <param name="a">A, <c>[R, in]</c>.</param>
    /// <param name="b">s B, <c>[out, R]</c>.</param>
    public float[] Get(ModuleShape module, ReadOnlySpan<float> magnitude, HostMatrix a, HostMatrix b)
    {
        float[] scales = _known?.GetValueOrDefault(module.Path) is { } known && known.Length == module.OutFeatures
            ? known
            : Compute(module, magnitude, a, b);
        AdapterTensors.CheckFinite(module.Path + ".lora_magnitude_vector / |W + sBA|", scales);
        _all.Add(module.Path, scales);
        return scales;
    }

    private float[] Compute(ModuleShape module, ReadOnlySpan<float> magnitude, HostMatrix a, HostMatrix b)
    {
        int columns = module.InFeatures;
        int chunkRows = Math.Clamp(ChunkElements / Math.Max(columns, 1), 1, module.OutFeatures);
        float[] scales = new float[module.OutFeatures];
        float[] buffer = ArrayPool<float>.Shared.Rent(chunkRows * columns);
        try
        {
            for (int first = 0; first < module.OutFeatures; first += chunkRows)
            {
                _cancellation.ThrowIfCancellationRequested();
                int rows = Math.Min(chunkRows, module.OutFeatures - first);
                _model.ReadUsedRows(module, first, buffer.AsMemory(0, rows * columns));
                for (int row = 0; row < rows; row++)
                {
                    Span<float> weight = buffer.AsSpan(row * columns, columns);
                    ReadOnlySpan<float> factors = b.Row(first + row);
                    for (int k = 0; k < factors.Length; k++)
                    {
                        TensorPrimitives.MultiplyAdd(a.Row(k), factors[k], weight, weight);
                    }

                    scales[first + row] = (float)(magnitude[first + row] / Norm(weight));
                }
            }
        }
        finally
        {
            ArrayPool<float>.Shared.Return(buffer);
        }

        return scales;
    }

    // Short f32 sums added in f64: rows of large models are long enough for a single f32 sum to lose digits.
    private static double Norm(ReadOnlySpan<float> values)
    {
        const int Part = 256;
        double sum = 0;
        for (int start = 0; start < values.Length; start += Part)
        {
            sum += TensorPrimitives.SumOfSquares(values.Slice(start, Math.Min(Part, values.Length - start)));
        }

        return Math.Sqrt(sum);
    }
}
