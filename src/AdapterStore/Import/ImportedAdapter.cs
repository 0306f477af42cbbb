using InferenceServer.Tensors.Adapters;

namespace InferenceServer.AdapterStore.Import;

/// <summary>What an import gives: the run-time form, the description, and what was computed from the base model.</summary>
/// <param name="Weights">The run-time form.</param>
/// <param name="Manifest">The description.</param>
/// <param name="OutputScales">
/// DoRA's output scales by module path; they took a pass over the base and are worth keeping. Empty for other methods.
/// </param>
public sealed record ImportedAdapter(AdapterWeights Weights, AdapterManifest Manifest, IReadOnlyDictionary<string, float[]> OutputScales);
