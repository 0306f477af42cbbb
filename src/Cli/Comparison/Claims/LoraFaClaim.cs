using InferenceServer.Cli.Rendering;

namespace InferenceServer.Cli.Comparison.Claims;

/// <summary>LoRA-FA (arXiv 2308.03303): a frozen A halves what is trained and needs less memory for activations.</summary>
internal sealed class LoraFaClaim : Claim
{
    // A trained value costs itself, its gradient and two moments, four bytes each; the rest of the peak is activations and A itself.
    private const int BytesPerTrained = 16;

    public override string Statement => "LoRA-FA trains half of LoRA's parameters and keeps fewer activations";

    public override Verdict Judge(ComparisonTable table) => AgainstLora(table, "lora-fa", (frozen, lora) =>
    {
        double share = (double)frozen.TrainableParameters / lora.TrainableParameters;
        if (frozen.PeakMemory is null || lora.PeakMemory is null)
        {
            return Verdict.Unknown($"{Unmeasured}; {Percent(100 * share)} of the parameters; {Losses(frozen, lora)}");
        }

        long activations = Activations(frozen);
        long loraActivations = Activations(lora);
        return Verdict.Of(
            share is > 0.35 and < 0.65 && activations < loraActivations,
            $"{Percent(100 * share)} of the parameters; {Format.Bytes(activations)} beside them, LoRA {Format.Bytes(loraActivations)}; "
                + Losses(frozen, lora));
    });

    private static long Activations(Trial trial) => trial.PeakBytes - (BytesPerTrained * trial.TrainableParameters);
}
