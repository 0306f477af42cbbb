namespace InferenceServer.Cli.Comparison.Claims;

/// <summary>Delta-LoRA (arXiv 2309.02411): carrying the changes into the base weight lowers the loss at the same rank.</summary>
internal sealed class DeltaLoraClaim : Claim
{
    public override string Statement => "Delta-LoRA is above LoRA at the same rank";

    public override Verdict Judge(ComparisonTable table) => AgainstLora(
        table, "delta-lora", (delta, lora) => Verdict.Of(table.IsLower(delta.BestLoss, lora.BestLoss), Losses(delta, lora)));
}
