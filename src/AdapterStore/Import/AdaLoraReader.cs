using System.Numerics.Tensors;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Adapters;
using InferenceServer.Tensors.Safetensors;

namespace InferenceServer.AdapterStore.Import;

/// <summary>AdaLoRA: <c>B' = alpha / (init_r + 1e-5) B diag(E)</c>; the divisor stays init_r after pruning, as in PEFT.</summary>
internal sealed class AdaLoraReader : DeltaReader
{
    private readonly PeftConfig _config;
    private readonly AdapterTensors _tensors;

    public AdaLoraReader(PeftConfig config, AdapterTensors tensors)
    {
        _config = config;
        _tensors = tensors;
    }

    public override int RankOf(ModuleTensors module)
    {
        int kept = _config.KeptRankOf(module.Module.Path);
        return kept < 0 ? _config.Rank : kept;
    }

    public override long Check(ModuleTensors module)
    {
        RequireLinear(module, "AdaLoRA");
        (SafetensorsEntry a, SafetensorsEntry b, _) = Factors(module);
        return FloatBytes(a.ElementCount, b.ElementCount);
    }

    public override LowRankDelta Build(ModuleTensors module)
    {
        ModuleShape shape = module.Module;
        int rank = RankOf(module);
        if (rank == 0)
        {
            return new LowRankDelta();
        }

        (SafetensorsEntry entryA, SafetensorsEntry entryB, SafetensorsEntry entryE) = Factors(module);
        HostMatrix a = new(rank, shape.InFeatures, _tensors.Read(entryA));
        HostMatrix b = new(shape.OutFeatures, rank, _tensors.Read(entryB));
        double alpha = _config.Alpha > 0 ? _config.Alpha : _config.Rank;
        float[] factors = _tensors.Read(entryE);
        TensorPrimitives.Multiply(factors, (float)(alpha / (_config.Rank + 1e-5)), factors);
        for (int row = 0; row < shape.OutFeatures; row++)
        {
            Span<float> values = b.Values.AsSpan(row * rank, rank);
            TensorPrimitives.Multiply(values, factors, values);
        }

        AdapterTensors.CheckFinite(entryB.Name, b.Values);
        return new LowRankDelta { A = a, B = b };
    }

    private (SafetensorsEntry A, SafetensorsEntry B, SafetensorsEntry E) Factors(ModuleTensors module)
    {
        int rank = RankOf(module);
        return (module.Require(TensorPart.LowRankA, "lora_A", rank, module.Module.InFeatures),
            module.Require(TensorPart.LowRankB, "lora_B", module.Module.OutFeatures, rank),
            module.Require(TensorPart.RankScale, "lora_E", rank, 1));
    }
}
