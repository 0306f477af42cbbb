using System.Text.Json.Nodes;
using InferenceServer.AdapterStore;
using InferenceServer.AdapterStore.Import;

namespace InferenceServer.Training;

/// <summary>Delta-LoRA (arXiv 2309.02411): the changes of the low-rank product also go into the base weight. PEFT has no names for it.</summary>
/// <param name="Ratio">lambda: how much of the product's change the base weight takes.</param>
/// <param name="WarmUpSteps">K: steps of plain LoRA before the base weight takes part.</param>
public sealed record DeltaLoraConfig(double Ratio, int WarmUpSteps)
{
    internal const string Field = "delta_lora_config";

    internal static DeltaLoraConfig Read(JsonObject json)
    {
        foreach ((string name, _) in json)
        {
            if (name is not ("ratio" or "warm_up_steps"))
            {
                throw Wrong(name, "ratio or warm_up_steps", "another field");
            }
        }

        DeltaLoraConfig config = new(
            (double?)json["ratio"] ?? 2,
            (int?)json["warm_up_steps"] ?? throw Wrong("warm_up_steps", "the number of steps of plain LoRA", "nothing"));
        if (!double.IsFinite(config.Ratio) || config.Ratio < 0)
        {
            throw Wrong("ratio", "a number from 0", FormattableString.Invariant($"{config.Ratio}"));
        }

        return config.WarmUpSteps >= 0
            ? config
            : throw Wrong("warm_up_steps", "a number from 0", FormattableString.Invariant($"{config.WarmUpSteps}"));
    }

    private static AdapterFormatException Wrong(string field, string expected, string found) =>
        new(PeftImporter.ConfigFileName, $"{Field}.{field}", expected, found);
}
