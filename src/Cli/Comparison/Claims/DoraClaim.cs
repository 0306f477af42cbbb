namespace InferenceServer.Cli.Comparison.Claims;

/// <summary>DoRA (arXiv 2402.09353): above LoRA, most of all at a low rank. Judged at the lowest rank measured.</summary>
internal sealed class DoraClaim : Claim
{
    public override string Statement => "DoRA is above LoRA at a low rank";

    public override Verdict Judge(ComparisonTable table)
    {
        if (table.Of("dora") is not [TunedContender dora, ..])
        {
            return Verdict.Unknown("dora has no result");
        }

        int rank = dora.Contender.Rank;
        return Between(table, "dora", rank, "lora", rank, (trial, lora) =>
            Verdict.Of(table.IsLower(trial.BestLoss, lora.BestLoss), $"at rank {rank}: {Losses(trial, lora)}"));
    }
}
