using System.Numerics.Tensors;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Adapters;
using InferenceServer.Tensors.Safetensors;

namespace InferenceServer.AdapterStore.Import;

/// <summary>LoRA, rsLoRA, DoRA, lora_bias; on linear modules and (without DoRA) embeddings: <c>B' = s B</c>, DoRA <c>B' = g s B</c>.</summary>
internal sealed class LoraReader : DeltaReader
{
    private readonly PeftConfig _config;
    private readonly AdapterTensors _tensors;
    private readonly DoraScales _scales;

    public LoraReader(PeftConfig config, AdapterTensors tensors, DoraScales scales)
    {
        _config = config;
        _tensors = tensors;
        _scales = scales;
    }

    public override int RankOf(ModuleTensors module) => _config.RankOf(module.Module.Path);

    public override long Check(ModuleTensors module)
    {
        (SafetensorsEntry a, SafetensorsEntry b) = Factors(module);
        long extra = 0;
        if (_config.HasLowRankBias && module.Module.Kind != ModuleKind.Embedding)
        {
            extra += module.Require(TensorPart.LowRankBias, "lora_B.bias", module.Module.OutFeatures).ElementCount;
        }

        if (_config.UsesDora)
        {
            RequireLinear(module, "DoRA");
            extra += module.Require(TensorPart.Magnitude, "lora_magnitude_vector", module.Module.OutFeatures).ElementCount;
        }

        return FloatBytes(a.ElementCount, b.ElementCount, extra);
    }

    public override LowRankDelta Build(ModuleTensors module)
    {
        ModuleShape shape = module.Module;
        int rank = _config.RankOf(shape.Path);
        float scale = (float)_config.ScaleOf(shape.Path);
        (SafetensorsEntry entryA, SafetensorsEntry entryB) = Factors(module);
        HostMatrix a = _tensors.ReadMatrix(entryA, rank, shape.InFeatures, 1);
        HostMatrix b = _tensors.ReadMatrix(entryB, shape.OutFeatures, rank, scale);
        float[]? outputScale = null;
        if (module.Find(TensorPart.Magnitude, shape.OutFeatures) is { } magnitude)
        {
            outputScale = _scales.Get(shape, _tensors.Read(magnitude), a, b);
            float[] scaled = b.Values;
            for (int row = 0; row < shape.OutFeatures; row++)
            {
                Span<float> values = scaled.AsSpan(row * rank, rank);
                TensorPrimitives.Multiply(values, outputScale[row], values);
            }

            AdapterTensors.CheckFinite(entryB.Name, scaled);
            b = new HostMatrix(shape.OutFeatures, rank, scaled);
        }

        float[]? bias = null;
        if (module.Find(TensorPart.LowRankBias, shape.OutFeatures) is { } lowRankBias)
        {
            bias = _tensors.Read(lowRankBias);
            TensorPrimitives.Multiply(bias, scale, bias);
        }

        return new LowRankDelta { A = a, B = b, OutputScale = outputScale, OutputBias = bias };
    }

    private (SafetensorsEntry A, SafetensorsEntry B) Factors(ModuleTensors module)
    {
        ModuleShape shape = module.Module;
        int rank = _config.RankOf(shape.Path);
        return shape.Kind == ModuleKind.Embedding
            ? (module.Require(TensorPart.EmbeddingA, "lora_embedding_A", rank, shape.InFeatures),
                module.Require(TensorPart.EmbeddingB, "lora_embedding_B", shape.OutFeatures, rank))
            : (module.Require(TensorPart.LowRankA, "lora_A.weight", rank, shape.InFeatures),
                module.Require(TensorPart.LowRankB, "lora_B.weight", shape.OutFeatures, rank));
    }
}
