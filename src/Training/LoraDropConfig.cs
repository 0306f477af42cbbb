using System.Text.Json.Nodes;
using InferenceServer.AdapterStore;
using InferenceServer.AdapterStore.Import;

namespace InferenceServer.Training;

/// <summary>
/// LoRA-drop (arXiv 2402.07721): modules whose LoRA hardly changes their output share one. PEFT has no names for it.
/// </summary>
/// <param name="Threshold">T: share of the importance that the modules with a LoRA of their own have at least.</param>
/// <param name="SharedModules">Paths of the modules that share; null until <see cref="LoraDropWarmUp"/> has chosen them.</param>
public sealed record LoraDropConfig(double Threshold, IReadOnlyList<string>? SharedModules)
{
    internal const string Field = "lora_drop_config";

    internal const string SharedField = "shared_modules";

    internal static LoraDropConfig Read(JsonObject json)
    {
        foreach ((string name, _) in json)
        {
            if (name is not ("threshold" or SharedField))
            {
                throw Wrong(name, $"threshold or {SharedField}", "another field");
            }
        }

        LoraDropConfig config = new(
            (double?)json["threshold"] ?? 0.9,
            json[SharedField] is { } shared ? [.. shared.AsArray().Select(path => path!.GetValue<string>())] : null);
        return config.Threshold is > 0 and <= 1
            ? config
            : throw Wrong("threshold", "above 0 and at most 1", FormattableString.Invariant($"{config.Threshold}"));
    }

    internal static AdapterFormatException Wrong(string field, string expected, string found) =>
        new(PeftImporter.ConfigFileName, $"{Field}.{field}", expected, found);
}
