using InferenceServer.Cpu;
using InferenceServer.Cpu.Training;
using InferenceServer.Models.Checkpoints;
using InferenceServer.Tensors;
using InferenceServer.TestKit;
using InferenceServer.Training;
using InferenceServer.Training.Export;
using InferenceServer.UnitTests.AdapterStore;
using InferenceServer.UnitTests.Transformer;
using Xunit;
using Xunit.Abstractions;

namespace InferenceServer.UnitTests.Training.Export;

/// <summary>A model whose every weight is trained is written in its base's names, shapes and order of elements.</summary>
[Trait("Category", "Training")]
public sealed class ModelExporterTests(ITestOutputHelper output)
{
    private static readonly string s_small = Path.Combine(AppContext.BaseDirectory, "Data", "golden");

    [Fact]
    public void Small_golden_bases_that_nothing_trained_are_written_bit_for_bit() =>
        GoldenCases.RunFolders(output, "fixtures/bases/*", CheckUntouched, s_small);

    [GoldenFact]
    [Trait("Category", "Golden")]
    public void Every_golden_base_that_nothing_trained_is_written_bit_for_bit() =>
        GoldenCases.RunFolders(output, "fixtures/bases/*", CheckUntouched);

    private static void CheckUntouched(string folder)
    {
        using TemporaryFolder target = new();
        CpuBackend backend = new(new CpuOptions { ThreadCount = 1, Products = CpuProducts.Vectors });
        using ITrainingBackend operations = CpuTraining.Create(backend);
        using GoldenModel golden = new(folder, backend);
        using Trainer trainer = Trainer.ForAllWeights(golden.Model, backend, operations, new TrainingOptions { MaxBatchTokens = 64 });

        ModelExporter.Write(trainer, golden.Model, folder, target.Path);

        using Checkpoint written = Checkpoint.Open(target.Path);
        Dictionary<string, CheckpointTensor> before = golden.Model.Checkpoint.Tensors.ToDictionary(tensor => tensor.Entry.Name);
        Assert.NotEmpty(written.Tensors);
        foreach (CheckpointTensor tensor in written.Tensors)
        {
            Assert.Equal(before[tensor.Entry.Name].Entry.Shape, tensor.Entry.Shape);
            Assert.Equal(before[tensor.Entry.Name].ReadAll(), tensor.ReadAll());
        }

        Assert.Equal(before.Keys.Where(IsRead).Order(StringComparer.Ordinal), written.Tensors.Select(tensor => tensor.Entry.Name).Order(StringComparer.Ordinal));

        // A tied head's own copy, and what older checkpoints keep that is no weight.
        bool IsRead(string name) => !(golden.Model.Shape.HasTiedEmbeddings && name == golden.Model.Shape.OutputHeadPath + ".weight");
    }
}
