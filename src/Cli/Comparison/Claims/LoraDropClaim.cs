namespace InferenceServer.Cli.Comparison.Claims;

/// <summary>LoRA-drop (arXiv 2402.07721): half of the modules' pairs are enough, the others share one.</summary>
internal sealed class LoraDropClaim : Claim
{
    // "Half": the paper drops 50 to 68 %; some room for the shared pairs.
    private const double Half = 0.6;

    public override string Statement => "LoRA-drop trains half of LoRA's parameters at nearly equal loss";

    public override Verdict Judge(ComparisonTable table) => AgainstLora(table, "lora-drop", (drop, lora) =>
    {
        double share = (double)drop.TrainableParameters / lora.TrainableParameters;
        return Verdict.Of(
            share <= Half && IsNearlyEqualOrLower(table, drop.BestLoss, lora.BestLoss),
            $"{Percent(100 * share)} of the parameters; {Losses(drop, lora)}");
    });
}
