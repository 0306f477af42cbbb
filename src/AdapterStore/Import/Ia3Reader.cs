using InferenceServer.Tensors;
using InferenceServer.Tensors.Adapters;
using InferenceServer.Tensors.Safetensors;

namespace InferenceServer.AdapterStore.Import;

/// <summary>IA3: a factor of each output <c>l (W x + b)</c>, or of each input on feed-forward modules.</summary>
internal sealed class Ia3Reader : DeltaReader
{
    private readonly PeftConfig _config;
    private readonly AdapterTensors _tensors;
    private readonly ModelShape _model;

    public Ia3Reader(PeftConfig config, AdapterTensors tensors, ModelShape model)
    {
        _config = config;
        _tensors = tensors;
        _model = model;
    }

    public override int RankOf(ModuleTensors module) => 0;

    public override long Check(ModuleTensors module)
    {
        RequireLinear(module, "IA3");
        long biasCount = module.Module.HasBias && !_config.IsFeedforward(module.Module.Path) ? module.Module.OutFeatures : 0;
        return FloatBytes(Vector(module).ElementCount, biasCount);
    }

    public override LowRankDelta Build(ModuleTensors module)
    {
        float[] factors = _tensors.Read(Vector(module));
        if (_config.IsFeedforward(module.Module.Path))
        {
            return new LowRankDelta { InputScale = factors };
        }

        // The run-time form adds the base's bias unscaled, so the rest of l b comes from here.
        float[]? bias = _model.ReadBias(module.Module);
        return new LowRankDelta { OutputScale = factors, OutputBias = bias?.Zip(factors, (b, l) => (l - 1) * b).ToArray() };
    }

    private SafetensorsEntry Vector(ModuleTensors module) => _config.IsFeedforward(module.Module.Path)
        ? module.Require(TensorPart.Ia3Vector, "ia3_l", 1, module.Module.InFeatures)
        : module.Require(TensorPart.Ia3Vector, "ia3_l", module.Module.OutFeatures, 1);
}
