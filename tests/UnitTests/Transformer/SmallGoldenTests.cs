using InferenceServer.TestKit;
using Xunit;
using Xunit.Abstractions;

namespace InferenceServer.UnitTests.Transformer;

/// <summary>The few golden cases that are kept in the repository, so that every machine compares with transformers and PEFT.</summary>
public sealed class SmallGoldenTests(ITestOutputHelper output)
{
    private static readonly string s_root = Path.Combine(AppContext.BaseDirectory, "Data", "golden");
    private static readonly AdapterChecks s_checks = new(s_root);

    [Fact]
    public void Bases_give_their_logits_and_greedy_tokens() => GoldenCases.RunFolders(output, "fixtures/bases/*", BaseChecks.Base, s_root);

    [Fact]
    public void Quantised_bases_compute_with_their_unpacked_weights() =>
        GoldenCases.RunFolders(output, "fixtures/bases/*", new QuantizedChecks(output).Base, s_root);

    [Fact]
    public void Bases_stay_near_their_logits_in_bf16() =>
        GoldenCases.RunFolders(output, "fixtures/bases/*", ServedChecks.BaseInBFloat16, s_root);

    [Fact]
    public void Quantised_bases_lose_what_their_weights_lost() =>
        GoldenCases.RunFolders(output, "fixtures/bases/*", new ServedChecks(output).BaseQuantised, s_root);

    [Fact]
    public void Adapters_stay_near_their_logits_in_bf16() =>
        GoldenCases.RunFolders(output, "fixtures/adapters/*/*", s_checks.InBFloat16, s_root);

    [Fact]
    public void Adapters_give_their_logits_and_greedy_tokens_unmerged_and_merged() =>
        GoldenCases.RunFolders(output, "fixtures/adapters/*/*", s_checks.Adapter, s_root);

    [Fact]
    public void Adapters_can_be_merged_in_bf16_beside_other_tenants() =>
        GoldenCases.RunFolders(output, "fixtures/adapters/*/*", s_checks.MergedInBFloat16, s_root);

    [Fact]
    public void Adapters_can_be_merged_in_a_quantised_base_beside_other_tenants() =>
        GoldenCases.RunFolders(output, "fixtures/adapters/*/*", s_checks.MergedInQuantized, s_root);

    [Fact]
    public void Mixed_batches_give_each_row_its_own_logits_and_equal_the_row_alone() =>
        GoldenCases.RunFolders(output, "fixtures/mixed/*", s_checks.Mixed, s_root);

    [Fact]
    public void Stacks_add_their_adapters() => GoldenCases.RunFolders(output, "fixtures/stacked/*", s_checks.Stacked, s_root);

    [Fact]
    public void Weighted_adapters_give_their_logits() => GoldenCases.RunFolders(output, "fixtures/weighted/*", s_checks.Weighted, s_root);
}
