namespace InferenceServer.Cli.Comparison.Claims;

/// <summary>
/// VeRA (arXiv 2310.11454): about 3 % of LoRA's parameters do as well. Judged against the LoRA, of the ranks measured, of whose
/// parameters VeRA has the share nearest to 3 %.
/// </summary>
internal sealed class VeraClaim : Claim
{
    private const double Share = 0.03;

    // "About": half to twice.
    private const double Slack = 2;

    public override string Statement => "VeRA does as well as a LoRA with about 3 % of its parameters";

    public override Verdict Judge(ComparisonTable table)
    {
        if (table.Of("vera") is not [TunedContender vera, ..])
        {
            return Verdict.Unknown("vera has no result");
        }

        Trial? lora = table.Of("lora").Select(row => row.Best).MinBy(trial => Math.Abs(Math.Log(ShareOf(vera.Best, trial) / Share)));
        if (lora is null)
        {
            return Verdict.Unknown("lora has no result");
        }

        double share = ShareOf(vera.Best, lora);
        string evidence = $"{Percent(100 * share)} of the parameters of {lora.Contender}; {Losses(vera.Best, lora)}";
        return share is >= Share / Slack and <= Share * Slack
            ? Verdict.Of(IsNearlyEqualOrLower(table, vera.Best.BestLoss, lora.BestLoss), evidence)
            : Verdict.Unknown($"no measured rank of LoRA is near: {evidence}");
    }

    private static double ShareOf(Trial vera, Trial lora) => (double)vera.TrainableParameters / lora.TrainableParameters;
}
