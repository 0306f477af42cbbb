using InferenceServer.Cli.Jobs;

namespace InferenceServer.Cli.Comparison.Claims;

/// <summary>AdaLoRA (arXiv 2303.10512): the same number of ranks, unevenly spread, does better. Judged by the last loss, when the budget is kept.</summary>
internal sealed class AdaLoraClaim : Claim
{
    public override string Statement => "AdaLoRA's uneven ranks beat LoRA's even ones at an equal budget";

    public override Verdict Judge(ComparisonTable table) => AgainstLora(table, "adalora", (adaptive, lora) =>
    {
        string ranks = adaptive.LargestRank > 0 ? $"ranks up to {adaptive.LargestRank} at a mean of {table.Rank}; " : "";
        bool isUneven = adaptive.LargestRank == 0 || adaptive.LargestRank > table.Rank;
        return Verdict.Of(
            isUneven && table.IsLower(adaptive.FinalLoss, lora.BestLoss),
            $"{ranks}held-out loss {JobText.Loss(adaptive.FinalLoss)}, {lora.Contender} {JobText.Loss(lora.BestLoss)}");
    });
}
