using InferenceServer.Tensors;
using InferenceServer.Tensors.Adapters;
using InferenceServer.Tensors.Steps;

namespace InferenceServer.Training.Methods;

/// <summary>The adapter that is being trained, as the forward meets it: through the same door as a served one.</summary>
internal sealed class TrainedAdapter : DeviceAdapter
{
    private readonly ModuleMethod?[] _modules;

    /// <param name="label">For messages.</param>
    /// <param name="modules">By module index; null where the base stays as it is.</param>
    public TrainedAdapter(string label, ModuleMethod?[] modules)
        : base(label, modules.Sum(module => module?.Parameters.Sum(parameter => parameter.Count * sizeof(float)) ?? 0)) => _modules = modules;

    /// <summary>The trained modules, in index order.</summary>
    public IEnumerable<ModuleMethod> Modules => _modules.OfType<ModuleMethod>();

    /// <summary>The adapter of a group's entry.</summary>
    /// <exception cref="ArgumentException">It is a served one.</exception>
    public static TrainedAdapter Of(in LoraEntry entry) =>
        entry.Adapter as TrainedAdapter ?? throw new ArgumentException($"adapter '{entry.Adapter.Label}' is not being trained");

    /// <summary>What is trained on a module, or null.</summary>
    public ModuleMethod? Module(int module) => _modules[module];

    public override bool Changes(int module) => _modules[module] is not null;

    public override WeightMatrix? Replacement(int module) => _modules[module]?.Replacement;

    public override bool ScalesInput(int module) => _modules[module]?.ScalesInput ?? false;

    public override bool ReplacesRows(int module) => false;

    public override DeviceBuffer? NormWeight(int module) => _modules[module]?.NormWeight;

    public override DeviceBuffer? NormBias(int module) => null;

    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            foreach (ModuleMethod module in Modules)
            {
                module.Dispose();
            }
        }
    }
}
