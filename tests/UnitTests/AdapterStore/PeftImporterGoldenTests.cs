using InferenceServer.AdapterStore.Import;
using InferenceServer.TestKit;
using Xunit;
using Xunit.Abstractions;

namespace InferenceServer.UnitTests.AdapterStore;

[Trait("Category", "Golden")]
public sealed class PeftImporterGoldenTests(ITestOutputHelper output)
{
    [GoldenFact]
    public void Every_adapter_gives_the_merged_weight_that_PEFT_computes() => GoldenCases.RunFolders(output, "fixtures/adapters/*/*", AdapterChecks.MergedWeights);

    [GoldenFact]
    public void Every_adapter_read_whole_is_the_one_that_was_mapped() => GoldenCases.RunFolders(output, "fixtures/adapters/*/*", AdapterChecks.ReadWhole);

    [GoldenFact]
    public void Every_weighted_adapter_gives_the_delta_that_PEFT_computes() => GoldenCases.RunFolders(output, "fixtures/weighted/*", AdapterChecks.Deltas);

    [GoldenFact]
    public void VeRA_projections_drawn_from_the_key_equal_those_that_torch_saved() => GoldenCases.RunFolders(output, "fixtures/adapters/*/vera*", AdapterChecks.VeraProjections);

    [GoldenFact]
    public void Every_trained_adapter_is_accepted() => GoldenCases.RunFolders(output, "fixtures/training/*/final", folder =>
    {
        string name = Path.GetFileName(Path.GetDirectoryName(folder))!;
        using CheckpointShape model = new(Path.Combine(folder, "../..", name is "lora_qwen2" ? "base_qwen2_tied" : "base"));

        ImportedAdapter adapter = new PeftImporter(model.Shape).Import(folder, name);

        Assert.NotEmpty(adapter.Manifest.TargetModules);
        Assert.Equal(adapter.Weights.ByteCount, adapter.Manifest.HostBytes);
    });
}
