using InferenceServer.AdapterStore.Import;
using InferenceServer.Tensors;

namespace InferenceServer.Training.Methods;

/// <summary>Modules that one pair fits: the same projection in different layers, of one shape, rank and scale.</summary>
internal readonly record struct SharingGroup(string Name, int OutFeatures, int InFeatures, int Rank, double Scale)
{
    public static SharingGroup Of(ModuleShape module, PeftConfig config) =>
        new(module.Name, module.OutFeatures, module.InFeatures, config.RankOf(module.Path), config.ScaleOf(module.Path));
}
