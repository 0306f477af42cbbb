using InferenceServer.Tensors;
using InferenceServer.Tensors.Adapters;
using InferenceServer.Tensors.Safetensors;

namespace InferenceServer.AdapterStore.Import;

/// <summary>A routed adapter: A and B of several adapters, scales already in B, and a gate that weighs them by the input.</summary>
internal sealed class RoutedReader : DeltaReader
{
    private readonly RouterConfig _router;
    private readonly AdapterTensors _tensors;

    /// <exception cref="AdapterFormatException">The config does not say which modules, or names one that is no linear module of the model.</exception>
    public RoutedReader(RouterConfig router, AdapterTensors tensors, ModelShape model)
    {
        _router = router;
        _tensors = tensors;
        if (router.BlockRanks is not { Count: > 0 } ranks)
        {
            throw new AdapterFormatException(
                ConfigFields.FileName, RouterConfig.BlockRanksField, "the ranks of each adapter on each module", "nothing");
        }

        foreach (string path in ranks.Keys)
        {
            if (model.Find(path)?.Kind is not (ModuleKind.Linear or ModuleKind.Conv1D))
            {
                throw new AdapterFormatException(
                    ConfigFields.FileName,
                    RouterConfig.BlockRanksField,
                    $"linear modules of the base model '{model.Name}' (no other has an input to weigh adapters by)",
                    $"'{AdapterFormatException.Shown(path)}'");
            }
        }
    }

    public override int RankOf(ModuleTensors module) => BlockRanksOf(module).Sum();

    public override long Check(ModuleTensors module)
    {
        (SafetensorsEntry a, SafetensorsEntry b, SafetensorsEntry gate, SafetensorsEntry? bias) = Parts(module);
        return FloatBytes(a.ElementCount, b.ElementCount, gate.ElementCount, bias?.ElementCount ?? 0);
    }

    public override LowRankDelta Build(ModuleTensors module)
    {
        ModuleShape shape = module.Module;
        int[] blocks = BlockRanksOf(module);
        int rank = blocks.Sum();
        (SafetensorsEntry a, SafetensorsEntry b, SafetensorsEntry gate, SafetensorsEntry? bias) = Parts(module);
        return new LowRankDelta
        {
            A = new HostMatrix(rank, shape.InFeatures, _tensors.Read(a)),
            B = new HostMatrix(shape.OutFeatures, rank, _tensors.Read(b)),
            Gate = new RankGate
            {
                BlockRanks = blocks,
                Weight = new HostMatrix(blocks.Length, shape.InFeatures, _tensors.Read(gate)),
                Bias = bias is null ? null : _tensors.Read(bias),
                Temperature = _router.Temperature,
                TopK = _router.TopK,
            },
        };
    }

    private int[] BlockRanksOf(ModuleTensors module) => _router.BlockRanks![module.Module.Path];

    private (SafetensorsEntry A, SafetensorsEntry B, SafetensorsEntry Gate, SafetensorsEntry? Bias) Parts(ModuleTensors module)
    {
        ModuleShape shape = module.Module;
        int rank = RankOf(module);
        int adapters = _router.Adapters.Count;
        return (
            module.Require(TensorPart.LowRankA, "lora_A.weight", rank, shape.InFeatures),
            module.Require(TensorPart.LowRankB, "lora_B.weight", shape.OutFeatures, rank),
            module.Require(TensorPart.GateWeight, "router_gate.weight", adapters, shape.InFeatures),
            _router.HasBias ? module.Require(TensorPart.GateBias, "router_gate.bias", adapters) : null);
    }
}
