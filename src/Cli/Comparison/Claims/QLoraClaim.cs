using InferenceServer.Cli.Rendering;

namespace InferenceServer.Cli.Comparison.Claims;

/// <summary>QLoRA (arXiv 2305.14314): a base in 4 bits needs less memory at equal loss.</summary>
internal sealed class QLoraClaim : Claim
{
    public override string Statement => "QLoRA needs less memory than LoRA at equal loss";

    public override Verdict Judge(ComparisonTable table) => AgainstLora(table, "qlora", (quantised, lora) => Verdict.Of(
        quantised.PeakMemory < lora.PeakMemory && IsNearlyEqualOrLower(table, quantised.BestLoss, lora.BestLoss),
        $"{Format.Bytes(quantised.PeakMemory)} ({Format.Bytes(quantised.BaseBytes)} base), "
            + $"LoRA {Format.Bytes(lora.PeakMemory)} ({Format.Bytes(lora.BaseBytes)} base); {Losses(quantised, lora)}"));
}
