using InferenceServer.TestKit;
using Xunit;
using Xunit.Abstractions;

namespace InferenceServer.UnitTests.Transformer;

/// <summary>Every golden base against transformers' own logits and greedy continuations, in f32.</summary>
[Trait("Category", "Golden")]
public sealed class GoldenBaseTests(ITestOutputHelper output)
{
    [GoldenFact]
    public void Every_base_gives_its_logits_and_greedy_tokens() => GoldenCases.RunFolders(output, "fixtures/bases/*", BaseChecks.Base);

    [GoldenFact]
    public void Every_quantised_base_computes_with_its_unpacked_weights() =>
        GoldenCases.RunFolders(output, "fixtures/bases/*", new QuantizedChecks(output).Base);

    [GoldenFact]
    public void Every_base_stays_near_its_logits_in_bf16() => GoldenCases.RunFolders(output, "fixtures/bases/*", ServedChecks.BaseInBFloat16);

    [GoldenFact]
    public void Every_quantised_base_loses_what_its_weights_lost() =>
        GoldenCases.RunFolders(output, "fixtures/bases/*", new ServedChecks(output).BaseQuantised);
}
