using InferenceServer.TestKit;
using Xunit;
using Xunit.Abstractions;

namespace InferenceServer.UnitTests.AdapterStore;

/// <summary>The golden checks over the few cases that are kept in the repository.</summary>
public sealed class PeftImporterSmallGoldenTests(ITestOutputHelper output)
{
    private static readonly string s_root = Path.Combine(AppContext.BaseDirectory, "Data", "golden");

    [Fact]
    public void Adapters_give_the_merged_weight_that_PEFT_computes() =>
        GoldenCases.RunFolders(output, "fixtures/adapters/*/*", AdapterChecks.MergedWeights, s_root);

    [Fact]
    public void Weighted_adapters_give_the_delta_that_PEFT_computes() => GoldenCases.RunFolders(output, "fixtures/weighted/*", AdapterChecks.Deltas, s_root);

    [Fact]
    public void VeRA_projections_drawn_from_the_key_equal_those_that_torch_saved() =>
        GoldenCases.RunFolders(output, "fixtures/adapters/*/vera*", AdapterChecks.VeraProjections, s_root);
}
