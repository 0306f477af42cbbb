using System.Globalization;
using InferenceServer.Cli.Jobs;

namespace InferenceServer.Cli.Comparison.Claims;

/// <summary>What a paper says, as a rule over the measured rows.</summary>
internal abstract class Claim
{
    // "Nearly equal" and "at equal loss" of the papers: 5 %, or what a seed changes when that is more.
    private const double NearlyEqual = 0.05;

    protected const string Unmeasured = "the peak of memory was not measured";

    /// <summary>All of them, in the order of the report.</summary>
    public static IReadOnlyList<Claim> All { get; } =
    [
        new LoraPlusClaim(),
        new VeraClaim(),
        new LoraFaClaim(),
        new LoraDropClaim(),
        new AdaLoraClaim(),
        new DoraClaim(),
        new RsLoraClaim(),
        new DeltaLoraClaim(),
        new QLoraClaim(),
        new FasterStartClaim("PiSSA", "pissa"),
        new FasterStartClaim("OLoRA", "olora"),
    ];

    /// <summary>What is claimed, in one sentence.</summary>
    public abstract string Statement { get; }

    public abstract Verdict Judge(ComparisonTable table);

    /// <summary>Judges a method by LoRA at the common rank, when both rows are there.</summary>
    protected static Verdict AgainstLora(ComparisonTable table, string method, Func<Trial, Trial, Verdict> judge)
    {
        return Between(table, method, table.Rank, "lora", table.Rank, judge);
    }

    protected static Verdict Between(
        ComparisonTable table, string method, int rank, string other, int otherRank, Func<Trial, Trial, Verdict> judge)
    {
        return (table.Find(method, rank), table.Find(other, otherRank)) switch
        {
            (null, _) => Verdict.Unknown($"{method} r{rank} has no result"),
            (_, null) => Verdict.Unknown($"{other} r{otherRank} has no result"),
            var (row, reference) => judge(row.Best, reference.Best),
        };
    }

    /// <summary>Whether a loss is at most 5 %, or what a seed changes, above another.</summary>
    protected static bool IsNearlyEqualOrLower(ComparisonTable table, double loss, double other)
    {
        return loss <= other * (1 + Math.Max(NearlyEqual, table.Margin));
    }

    /// <summary>Whether the target is reached in fewer steps than a reference needs, with whatever seed.</summary>
    protected static Verdict FewerSteps(ComparisonTable table, Trial trial, Trial reference)
    {
        if (table.TargetLoss is not { } target)
        {
            return Verdict.Unknown("there is no loss to reach");
        }

        int? steps = trial.StepsTo(target);
        int?[] others = [reference.StepsTo(target), .. table.Repeats.Where(again => again.Succeeded).Select(again => again.StepsTo(target))];
        string seeds = others.Length > 1 ? $" (with other seeds {string.Join(", ", others[1..].Select(Count))})" : "";
        string evidence =
            $"held-out loss {JobText.Loss(target)} after {Count(steps)} steps, {reference.Contender} after {Count(others[0])}{seeds}";
        return (steps, others.Min()) switch
        {
            (null, null) => Verdict.Unknown(evidence),
            (null, _) => Verdict.Of(false, evidence),
            (_, null) => Verdict.Of(true, evidence),
            var (count, least) => Verdict.Of(count < least, evidence),
        };

        static string Count(int? count) => count?.ToString(CultureInfo.InvariantCulture) ?? "no number of";
    }

    protected static string Losses(Trial trial, Trial reference) =>
        $"held-out loss {JobText.Loss(trial.BestLoss)}, {reference.Contender} {JobText.Loss(reference.BestLoss)}";

    protected static string Percent(double share) => share.ToString("0.#", CultureInfo.InvariantCulture) + " %";
}
