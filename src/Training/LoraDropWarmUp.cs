using InferenceServer.Models.Transformer;
using InferenceServer.Tensors;
using InferenceServer.Training.Methods;

namespace InferenceServer.Training;

/// <summary>
/// LoRA-drop's first part: a plain LoRA is trained on a sample, and its modules are compared by how much they change their outputs. The
/// second part, the training of what is chosen, starts afresh.
/// </summary>
public static class LoraDropWarmUp
{
    /// <summary>Trains one step per batch of the sample, then measures on the same batches.</summary>
    /// <param name="model">The base.</param>
    /// <param name="backend">Computes the forward.</param>
    /// <param name="operations">Its training half.</param>
    /// <param name="recipe">A recipe with lora_drop_config; modules chosen before are chosen again.</param>
    /// <param name="options">How to optimise.</param>
    /// <param name="sample">Batches of the training data.</param>
    /// <exception cref="ArgumentException">The recipe is not of LoRA-drop, or the sample is empty.</exception>
    /// <exception cref="TrainingFailedException">The warm-up changed nothing, or diverged.</exception>
    public static LoraDropChoice Choose(
        TransformerModel model,
        IComputeBackend backend,
        ITrainingBackend operations,
        AdapterRecipe recipe,
        TrainingOptions options,
        IReadOnlyList<SupervisedBatch> sample)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(recipe);
        ArgumentNullException.ThrowIfNull(sample);
        double threshold = recipe.LoraDrop?.Threshold ?? throw new ArgumentException($"the recipe has no {LoraDropConfig.Field}");
        if (sample.Count == 0)
        {
            throw new ArgumentException("LoRA-drop's sample has no batch");
        }

        using Trainer trainer = Trainer.ForAdapter(model, backend, operations, recipe.WithoutLoraDrop(), options);
        foreach (SupervisedBatch batch in sample)
        {
            trainer.Step(batch);
        }

        LoraMethod[] modules = [.. trainer.Modules.OfType<LoraMethod>()];
        foreach (LoraMethod module in modules)
        {
            module.Meter = new OutputMeter();
        }

        foreach (SupervisedBatch batch in sample)
        {
            trainer.Evaluate(batch);
        }

        Dictionary<string, double> importance = new(StringComparer.Ordinal);
        List<string> shared = [];
        foreach (IGrouping<SharingGroup, LoraMethod> group in modules.GroupBy(
            module => SharingGroup.Of(model.Shape.Find(PathOf(module))!, recipe.Peft)))
        {
            LoraMethod[] members = [.. group];
            double[] changes = [.. members.Select(module => module.Meter!.MeanSquare)];
            double sum = changes.Sum();
            if (!double.IsFinite(sum) || sum <= 0)
            {
                throw new TrainingFailedException(
                    FormattableString.Invariant($"LoRA-drop's warm-up changed the outputs of {group.Key.Name} by {sum} in all, so nothing can be chosen"));
            }

            bool[] kept = LoraDropSelection.Kept(changes, threshold);
            for (int i = 0; i < members.Length; i++)
            {
                importance.Add(PathOf(members[i]), changes[i] / sum);
                if (!kept[i])
                {
                    shared.Add(PathOf(members[i]));
                }
            }
        }

        return new LoraDropChoice(recipe.WithSharedModules(shared), importance);
    }

    private static string PathOf(LoraMethod module) => module.A.Name[..^LoraBuilder.DownSuffix.Length];
}
