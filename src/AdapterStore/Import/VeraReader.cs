using System.Numerics.Tensors;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Adapters;
using InferenceServer.Tensors.Safetensors;

namespace InferenceServer.AdapterStore.Import;

/// <summary>VeRA: <c>A' = diag(d) A[:, :in]</c>, <c>B' = diag(b) B[:out]</c> with A and B shared by all modules.</summary>
internal sealed class VeraReader : DeltaReader
{
    private const string NameA = "base_model.vera_A";
    private const string NameB = "base_model.vera_B";

    private readonly PeftConfig _config;
    private readonly AdapterTensors _tensors;
    private readonly HostMatrixSource _sharedA;
    private readonly HostMatrixSource _sharedB;

    /// <param name="config">The config.</param>
    /// <param name="tensors">The file.</param>
    /// <param name="targets">Every targeted module: the largest sizes give the projections' shapes.</param>
    public VeraReader(PeftConfig config, AdapterTensors tensors, IReadOnlyCollection<ModuleShape> targets)
    {
        _config = config;
        _tensors = tensors;
        int largestIn = targets.Count == 0 ? 0 : targets.Max(module => module.InFeatures);
        int largestOut = targets.Count == 0 ? 0 : targets.Max(module => module.OutFeatures);
        SafetensorsEntry? a = Shared(NameA, config.Rank, largestIn);
        SafetensorsEntry? b = Shared(NameB, largestOut, config.Rank);
        if ((a is null) != (b is null) || (a is null && config.SavesProjection))
        {
            throw new AdapterFormatException(
                AdapterTensors.FileName, a is null ? NameA : NameB, "both shared projections (save_projection)", "none");
        }

        if (a is not null)
        {
            _sharedA = new(() => tensors.Read(a), largestIn);
            _sharedB = new(() => tensors.Read(b!), config.Rank);
            return;
        }

        // Drawn one after the other from one generator, so A comes first.
        Lazy<(float[] A, float[] B)> drawn = new(() => VeraProjection.Draw((uint)config.ProjectionKey, config.Rank, largestIn, largestOut));
        _sharedA = new(() => drawn.Value.A, largestIn);
        _sharedB = new(() => drawn.Value.B, config.Rank);
    }

    public override int RankOf(ModuleTensors module) => _config.Rank;

    public override long Check(ModuleTensors module)
    {
        RequireLinear(module, "VeRA");
        _ = Vectors(module);
        return FloatBytes((long)_config.Rank * module.Module.InFeatures, (long)_config.Rank * module.Module.OutFeatures);
    }

    public override LowRankDelta Build(ModuleTensors module)
    {
        ModuleShape shape = module.Module;
        (SafetensorsEntry entryB, SafetensorsEntry entryD) = Vectors(module);
        float[] b = _tensors.Read(entryB);
        float[] d = _tensors.Read(entryD);
        HostMatrix left = Scaled(_sharedA, d, shape.InFeatures);
        HostMatrix right = Scaled(_sharedB, b, _config.Rank);
        AdapterTensors.CheckFinite(entryD.Name, left.Values);
        AdapterTensors.CheckFinite(entryB.Name, right.Values);
        return new LowRankDelta { A = left, B = right };
    }

    private (SafetensorsEntry B, SafetensorsEntry D) Vectors(ModuleTensors module) =>
        (module.Require(TensorPart.VeraOutput, "vera_lambda_b", module.Module.OutFeatures),
            module.Require(TensorPart.VeraRank, "vera_lambda_d", _config.Rank));

    private SafetensorsEntry? Shared(string name, long rows, long columns)
    {
        SafetensorsEntry? entry = _tensors.Shared(name);
        return entry is null || entry.Shape.AsSpan().SequenceEqual([rows, columns])
            ? entry
            : throw new AdapterFormatException(AdapterTensors.FileName, name, $"shape [{rows}, {columns}]", $"shape {entry.ShapeText}");
    }

    // The first rows, cut to the columns, each row times its factor.
    private static HostMatrix Scaled(HostMatrixSource source, float[] factors, int columns)
    {
        float[] values = new float[factors.Length * columns];
        for (int row = 0; row < factors.Length; row++)
        {
            TensorPrimitives.Multiply(source.Values.AsSpan(row * source.Columns, columns), factors[row], values.AsSpan(row * columns, columns));
        }

        return new HostMatrix(factors.Length, columns, values);
    }

    /// <summary>A shared projection, read or drawn when it is first needed.</summary>
    private sealed class HostMatrixSource(Func<float[]> read, int columns)
    {
        private readonly Lazy<float[]> _values = new(read);

        public float[] Values => _values.Value;

        public int Columns { get; } = columns;
    }
}
