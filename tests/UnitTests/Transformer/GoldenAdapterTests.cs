using InferenceServer.TestKit;
using Xunit;
using Xunit.Abstractions;

namespace InferenceServer.UnitTests.Transformer;

/// <summary>Every adapter, mixed batch, stack and weighted adapter of the golden data against PEFT's own logits.</summary>
[Trait("Category", "Golden")]
public sealed class GoldenAdapterTests(ITestOutputHelper output)
{
    private static readonly AdapterChecks s_checks = new(GoldenData.Root ?? "");

    [GoldenFact]
    public void Every_adapter_gives_its_logits_and_greedy_tokens_unmerged_and_merged() =>
        GoldenCases.RunFolders(output, "fixtures/adapters/*/*", s_checks.Adapter);

    [GoldenFact]
    public void Every_adapter_stays_near_its_logits_in_bf16() =>
        GoldenCases.RunFolders(output, "fixtures/adapters/*/*", s_checks.InBFloat16);

    [GoldenFact]
    public void Every_adapter_can_be_merged_in_bf16_beside_other_tenants() =>
        GoldenCases.RunFolders(output, "fixtures/adapters/*/*", s_checks.MergedInBFloat16);

    [GoldenFact]
    public void Every_adapter_can_be_merged_in_a_quantised_base_beside_other_tenants() =>
        GoldenCases.RunFolders(output, "fixtures/adapters/*/*", s_checks.MergedInQuantized);

    [GoldenFact]
    public void Every_mixed_batch_gives_each_row_its_own_logits_and_equals_the_row_alone() =>
        GoldenCases.RunFolders(output, "fixtures/mixed/*", s_checks.Mixed);

    [GoldenFact]
    public void Every_stack_adds_its_adapters() => GoldenCases.RunFolders(output, "fixtures/stacked/*", s_checks.Stacked);

    [GoldenFact]
    public void Every_weighted_adapter_gives_its_logits() => GoldenCases.RunFolders(output, "fixtures/weighted/*", s_checks.Weighted);
}
