using System.Text.Json.Nodes;
using Grpc.Core;
using InferenceServer.AdapterStore.Import;
using InferenceServer.Client;
using InferenceServer.Cpu;
using InferenceServer.Models.Transformer;
using InferenceServer.Protocol.V1;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Adapters;
using InferenceServer.Tensors.Safetensors;
using InferenceServer.Tensors.Steps;
using InferenceServer.TestKit.Golden;
using InferenceServer.TestKit.Models;
using InferenceServer.TestKit.TinyModel;
using Xunit;

namespace InferenceServer.IntegrationTests.Training;

/// <summary>Adapters and models leave as the files that came or were made, and work elsewhere.</summary>
[Trait("Category", "Training")]
public sealed class DownloadTests(TrainingBase tiny) : IClassFixture<TrainingBase>
{
    private static readonly int[] s_prompt = [.. "The quick brown fox".Select(letter => (int)letter)];

    [Fact]
    public async Task A_downloaded_adapter_is_the_one_that_was_uploaded_also_an_earlier_version()
    {
        using TemporaryFolder folder = new();
        string first = WriteLora(folder, "first", seed: 1);
        string second = WriteLora(folder, "second", seed: 2);
        await using RunningServer server = await tiny.ServeAsync();
        AdapterInfo old = (await server.Client.Adapters.UploadFolderAsync("tenant", first)).Adapter;
        AdapterInfo current = (await server.Client.Adapters.UploadFolderAsync("tenant", second)).Adapter;

        IReadOnlyList<string> names = await server.Client.Training.DownloadAdapterAsync("tenant", Path.Combine(folder.Path, "current"));
        await server.Client.Training.DownloadAdapterAsync($"tenant@{old.Digest}", Path.Combine(folder.Path, "old"));

        Assert.Equal(["adapter_config.json", "adapter_model.safetensors"], names);
        Assert.All(names, name => Assert.Equal(
            File.ReadAllBytes(Path.Combine(first, name)), File.ReadAllBytes(Path.Combine(folder.Path, "old", name))));
        UploadResponse again = await server.Client.Adapters.UploadFolderAsync("tenant", Path.Combine(folder.Path, "current"));
        Assert.True(again.AlreadyPresent);
        Assert.Equal(current.Digest, again.Adapter.Digest);
        Assert.Empty(Directory.GetFiles(folder.Path, "*.part", SearchOption.AllDirectories));
    }

    [Fact]
    public async Task A_merged_model_serves_elsewhere_what_base_and_adapter_serve_here()
    {
        using TemporaryFolder folder = new();
        string lora = WriteLora(folder, "lora", seed: 3);
        string merged = Path.Combine(folder.Path, "merged");
        await using RunningServer server = await tiny.ServeAsync();
        await server.Client.Adapters.UploadFolderAsync("tenant", lora);
        List<DownloadProgress> progress = [];

        IReadOnlyList<string> names = await server.Client.Training.DownloadMergedModelAsync(
            "tenant", merged, singlePrecision: true, new Recorder(progress));
        await using RunningServer elsewhere = await RunningServer.StartAsync("--model", merged);

        Assert.Equal(["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"], names);
        Assert.Equal(new FileInfo(Path.Combine(merged, "model.safetensors")).Length, progress[^1].ReceivedBytes);
        Assert.Equal(progress[^1].FileBytes, progress[^1].ReceivedBytes);
        Assert.Empty(Directory.GetFileSystemEntries(server.StagingFolder));
        foreach (string prompt in (string[])["The quick brown fox", "a", "0123456789"])
        {
            IReadOnlyList<int> here = (await server.Client.GenerateTextAsync(prompt, Generate.Greedy("tenant"))).TokenIds;
            Assert.Equal(here, (await elsewhere.Client.GenerateTextAsync(prompt, Generate.Greedy())).TokenIds);
            Assert.NotEqual(here, (await server.Client.GenerateTextAsync(prompt, Generate.Greedy())).TokenIds);
        }

        Tolerance.AssertClose(Logits(tiny.Folder, lora), Logits(merged, null), 2e-4, "merged");
    }

    [Fact]
    public async Task What_no_weight_can_hold_is_refused_by_name()
    {
        using TemporaryFolder folder = new();
        string biased = WriteBiased(folder);
        await using RunningServer server = await tiny.ServeAsync();
        AdapterInfo info = (await server.Client.Adapters.UploadFolderAsync("biased", biased)).Adapter;

        InferenceException error = await Assert.ThrowsAsync<InferenceException>(
            () => server.Client.Training.DownloadMergedModelAsync("biased", Path.Combine(folder.Path, "merged")));

        Assert.Equal(StatusCode.FailedPrecondition, error.Status);
        Assert.StartsWith($"'biased@{info.Digest}' cannot be folded into a model of its own", error.Message, StringComparison.Ordinal);
        Assert.Contains("adds a bias to model.layers.0.self_attn.q_proj", error.Message, StringComparison.Ordinal);
        Assert.Empty(Directory.GetFileSystemEntries(server.StagingFolder));
    }

    [Fact]
    public async Task A_fully_fine_tuned_model_is_downloaded_by_its_job()
    {
        using TemporaryFolder folder = new();
        string trained = Path.Combine(folder.Path, "trained");
        await using RunningServer server = await tiny.ServeAsync();
        TrainingClient training = server.Client.Training;
        TrainingSpec whole = JobSpecs.Plain("whole", steps: 4);
        whole.AdapterConfig = "";
        whole.Publish = new PublishSettings { Mode = "none" };
        TrainingJob model = await Jobs.EndAsync(training, (await training.StartAsync(whole, JobSpecs.Data())).Id);
        TrainingJob adapter = await Jobs.EndAsync(training, (await training.StartAsync(JobSpecs.Plain("pupil", steps: 2), JobSpecs.Data())).Id);
        Assert.True(model.State == TrainingState.Completed, model.Error);

        await training.DownloadTrainedModelAsync(model.Id, trained);
        InferenceException noModel = await Assert.ThrowsAsync<InferenceException>(() => training.DownloadTrainedModelAsync(adapter.Id, trained));

        Assert.NotEqual(Logits(tiny.Folder, null), Logits(trained, null));
        Assert.Equal(
            (StatusCode.FailedPrecondition, $"training job {adapter.Id} trains an adapter, not a model; download 'pupil'"),
            (noModel.Status, noModel.Message));
    }

    [Fact]
    public async Task What_is_not_there_is_said_to_be_not_there()
    {
        using TemporaryFolder folder = new();
        await using RunningServer server = await tiny.ServeAsync();
        TrainingClient training = server.Client.Training;

        Assert.Equal(StatusCode.NotFound, await Status(training.DownloadAdapterAsync("nobody", folder.Path)));
        Assert.Equal(StatusCode.NotFound, await Status(training.DownloadMergedModelAsync("nobody", folder.Path)));
        Assert.Equal(StatusCode.NotFound, await Status(training.DownloadTrainedModelAsync("nothing", folder.Path)));
        Assert.Equal(StatusCode.InvalidArgument, await Status(training.DownloadAdapterAsync("", folder.Path)));
        Assert.Empty(Directory.GetFileSystemEntries(folder.Path));

        static async Task<StatusCode> Status(Task call) => (await Assert.ThrowsAsync<InferenceException>(() => call)).Status;
    }

    private string WriteLora(TemporaryFolder folder, string name, int seed)
    {
        string path = Path.Combine(folder.Path, name);
        new TinyLora { Seed = seed, Rank = 4, Targets = ["q_proj", "v_proj", "gate_proj", "down_proj"] }.Write(path, tiny.Model);
        return path;
    }

    /// <summary>A LoRA with lora_bias on projections that have no bias.</summary>
    private string WriteBiased(TemporaryFolder folder)
    {
        string path = Path.Combine(folder.Path, "biased");
        new TinyLora { Targets = ["q_proj"] }.Write(path, tiny.Model);
        string weights = Path.Combine(path, PeftImporter.WeightsFileName);
        string config = Path.Combine(path, PeftImporter.ConfigFileName);
        JsonObject fields = JsonNode.Parse(File.ReadAllText(config))!.AsObject();
        fields["lora_bias"] = true;
        File.WriteAllText(config, fields.ToJsonString());
        List<SafetensorsWriter.Tensor> tensors = [];
        using (SafetensorsFile file = SafetensorsFile.Open(weights))
        {
            foreach (SafetensorsEntry entry in file.Entries.Values)
            {
                tensors.Add(SafetensorsWriter.FromSingles(entry.Name, entry.Shape, file.ReadSingles(entry)));
                if (entry.Name.EndsWith(".lora_B.weight", StringComparison.Ordinal))
                {
                    string name = entry.Name.Replace(".lora_B.weight", ".lora_B.bias", StringComparison.Ordinal);
                    tensors.Add(SafetensorsWriter.FromSingles(name, [entry.Shape[0]], [.. Enumerable.Repeat(0.5f, (int)entry.Shape[0])]));
                }
            }
        }

        using FileStream stream = File.Create(weights);
        SafetensorsWriter.Write(stream, tensors);
        return path;
    }

    private static float[] Logits(string folder, string? adapter)
    {
        using CpuBackend backend = new(new CpuOptions { ThreadCount = 1 });
        using TransformerModel model = TransformerModel.Load(
            folder, backend, new ModelLoadOptions { Weights = WeightFormat.F32, MaxBatchTokens = 64, MaxSampledRows = 64 });
        using ModelHarness harness = new(model, backend);
        if (adapter is null)
        {
            return harness.Logits([new HarnessSequence(s_prompt)])[0];
        }

        using DeviceAdapter device = backend.CreateAdapter(new PeftImporter(model.Shape).Import(adapter, "lora").Weights, WeightFormat.F32);
        return harness.Logits([new HarnessSequence(s_prompt, new LoraEntry(device, 1f))])[0];
    }

    private sealed class Recorder(List<DownloadProgress> told) : IProgress<DownloadProgress>
    {
        public void Report(DownloadProgress value) => told.Add(value);
    }
}
