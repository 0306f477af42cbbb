namespace InferenceServer.Cli.Comparison.Claims;

/// <summary>PiSSA (arXiv 2404.02948) and OLoRA (arXiv 2406.01775): a start in the base's own directions converges faster.</summary>
/// <param name="title">The method's name in its paper.</param>
/// <param name="method">Its name here.</param>
internal sealed class FasterStartClaim(string title, string method) : Claim
{
    public override string Statement => $"{title} reaches the loss in fewer steps than LoRA";

    public override Verdict Judge(ComparisonTable table) =>
        AgainstLora(table, method, (trial, lora) => FewerSteps(table, trial, lora));
}
