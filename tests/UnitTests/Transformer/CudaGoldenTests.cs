using InferenceServer.Cuda;
using InferenceServer.Tensors;
using InferenceServer.TestKit;
using InferenceServer.TestKit.Cuda;
using Xunit;
using Xunit.Abstractions;

namespace InferenceServer.UnitTests.Transformer;

/// <summary>
/// The golden cases of the repository through the whole CUDA backend on the CPU stand-in: transformers' and PEFT's logits, the same greedy tokens,
/// chunked = whole and batched = alone bit for bit. Decodes run in captured graphs.
/// </summary>
[Collection(StandInCollection.Name)]
public sealed class CudaGoldenTests(ITestOutputHelper output)
{
    private static readonly string s_root = Path.Combine(AppContext.BaseDirectory, "Data", "golden");
    private static readonly AdapterChecks s_checks = new(s_root, Create);

    [StandInFact]
    public void Bases_give_their_logits_and_greedy_tokens() =>
        GoldenCases.RunFolders(output, "fixtures/bases/*", folder => BaseChecks.Check(folder, new GoldenModel(folder, Create())), s_root);

    [StandInFact]
    public void Adapters_give_their_logits_and_greedy_tokens_unmerged_and_merged() =>
        GoldenCases.RunFolders(output, "fixtures/adapters/*/*", s_checks.Adapter, s_root);

    [StandInFact]
    public void Mixed_batches_give_each_row_its_own_logits_and_equal_the_row_alone() =>
        GoldenCases.RunFolders(output, "fixtures/mixed/*", s_checks.Mixed, s_root);

    [StandInFact]
    public void Stacks_add_their_adapters() => GoldenCases.RunFolders(output, "fixtures/stacked/*", s_checks.Stacked, s_root);

    [StandInFact]
    public void Weighted_adapters_give_their_logits() => GoldenCases.RunFolders(output, "fixtures/weighted/*", s_checks.Weighted, s_root);

    private static CudaBackend Create()
    {
        CudaOptions options = new() { LibraryPath = StandIn.Folder, Products = CudaProducts.Exact, KeyValues = WeightFormat.F32 };
        return CudaBackend.TryCreate(options, out CudaBackend? backend, out string reason) ? backend : throw new InvalidOperationException(reason);
    }
}
