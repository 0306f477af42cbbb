namespace InferenceServer.Cli.Comparison.Claims;

/// <summary>LoRA+ (arXiv 2402.12354): a faster B reaches the loss in fewer steps, each at its best rate.</summary>
internal sealed class LoraPlusClaim : Claim
{
    public override string Statement => "LoRA+ reaches the loss in fewer steps than LoRA";

    public override Verdict Judge(ComparisonTable table) =>
        AgainstLora(table, "lora-plus", (plus, lora) => FewerSteps(table, plus, lora));
}
