namespace InferenceServer.Training;

/// <summary>What LoRA-drop's warm-up found.</summary>
/// <param name="Recipe">The recipe to train, with the modules that share a pair.</param>
/// <param name="Importance">
/// Of each module, by path: <c>mean over x of |s B A x|^2</c>, as a share of the sum over the modules that it can share with.
/// </param>
public sealed record LoraDropChoice(AdapterRecipe Recipe, IReadOnlyDictionary<string, double> Importance);
