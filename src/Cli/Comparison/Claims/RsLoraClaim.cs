using InferenceServer.Cli.Jobs;

namespace InferenceServer.Cli.Comparison.Claims;

/// <summary>rsLoRA (arXiv 2312.03732): with alpha/sqrt(r) a higher rank is a lower loss, with alpha/r it is not. Each rank at its best rate.</summary>
internal sealed class RsLoraClaim : Claim
{
    public override string Statement => "rsLoRA gains from rank where LoRA's alpha/r does not";

    public override Verdict Judge(ComparisonTable table)
    {
        IReadOnlyList<TunedContender> plain = table.Of("lora");
        IReadOnlyList<TunedContender> stable = table.Of("rslora");
        int[] ranks = [.. plain.Select(row => row.Contender.Rank).Intersect(stable.Select(row => row.Contender.Rank))];
        if (ranks.Length < 2)
        {
            return Verdict.Unknown("lora and rslora have fewer than two ranks in common");
        }

        bool stableGains = table.IsLower(Loss("rslora", ranks[^1]), Loss("rslora", ranks[0]));
        bool plainGains = table.IsLower(Loss("lora", ranks[^1]), Loss("lora", ranks[0]));
        return Verdict.Of(stableGains && !plainGains, $"rslora {Row("rslora")}; lora {Row("lora")}");

        double Loss(string method, int rank) => table.Find(method, rank)!.Best.BestLoss;

        string Row(string method) => string.Join(", ", ranks.Select(rank => $"r{rank} {JobText.Loss(Loss(method, rank))}"));
    }
}
