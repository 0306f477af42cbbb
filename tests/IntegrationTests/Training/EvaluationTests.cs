using System.Globalization;
using System.Text;
using Grpc.Core;
using InferenceServer.AdapterStore.Import;
using InferenceServer.Client;
using InferenceServer.Cpu;
using InferenceServer.Cpu.Training;
using InferenceServer.Models;
using InferenceServer.Models.Transformer;
using InferenceServer.Protocol.V1;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Adapters;
using InferenceServer.TestKit.TinyModel;
using InferenceServer.Training.Data;
using InferenceServer.Training.Evaluation;
using InferenceServer.Training.Runs;
using Xunit;
using ExactMatch = InferenceServer.Training.Evaluation.ExactMatch;

namespace InferenceServer.IntegrationTests.Training;

/// <summary>Evaluations over gRPC: the library's numbers, clear errors, nothing left behind.</summary>
[Trait("Category", "Training")]
public sealed class EvaluationTests(TrainingBase tiny) : IClassFixture<TrainingBase>
{
    private const string Good = """{"prompt": "a", "completion": "b"}""";

    [Theory]
    [InlineData("")]
    [InlineData("tenant")]
    public async Task An_evaluation_gives_the_numbers_of_the_library(string adapter)
    {
        using TemporaryFolder folder = new();
        new TinyLora { Rank = 4, Targets = ["q_proj", "v_proj", "down_proj"] }.Write(folder.Path, tiny.Model);
        await using RunningServer server = await tiny.ServeAsync();
        await server.Client.Adapters.UploadFolderAsync("tenant", folder.Path);
        using CpuBackend backend = new(new CpuOptions { ThreadCount = 1, Products = CpuProducts.Vectors });
        using ITrainingBackend operations = CpuTraining.Create(backend);
        using LanguageModel model = Load(tiny.Folder, backend);
        AdapterWeights? weights = adapter.Length > 0 ? new PeftImporter(model.Transformer.Shape).Import(folder.Path, adapter).Weights : null;
        using DeviceAdapter? device = weights is null ? null : backend.CreateAdapter(weights, WeightFormat.F32);
        using GreedyGenerator generator = new(model.Transformer, backend, model.Defaults.EosTokenIds);
        string lines = Lines(generator, device);
        using MemoryStream stream = new(Encoding.UTF8.GetBytes(lines));
        Dataset data = Dataset.Read(stream, "set.jsonl", model.Tokenizer!, model.ChatTemplates, new DatasetOptions());
        using AdapterEvaluation evaluation = new(model.Transformer, backend, operations);
        EvaluationResult loss = evaluation.Measure(data.Samples, device);
        ExactMatchOptions asked = new() { MaxTokens = 1, MaxExamples = 2 };
        ExactMatchResult match = ExactMatch.Measure(generator, model.Tokenizer!, data.Questions, asked, device);

        EvaluateResponse response = await server.Client.Training.EvaluateAsync(
            new EvaluateHeader { Adapter = adapter, ExactMatchSamples = -1, ExactMatchTokens = 1, MaxExamples = 2 }, JobSpecs.Bytes(lines));

        Assert.Equal((loss.Loss, loss.Perplexity, loss.LabelCount), (response.Loss, response.Perplexity, response.Tokens));
        Assert.Equal((match.Right, match.Total), (response.ExactMatch.Right, response.ExactMatch.Total));
        Assert.InRange(match.Right, 1, match.Total - 2);
        Assert.Equal(
            match.Wrong.Select(wrong => (wrong.Line, wrong.Prompt, wrong.Expected, wrong.Answer)),
            response.Wrong.Select(wrong => (wrong.Line, wrong.Prompt, wrong.Expected, wrong.Answer)));
        Assert.Empty(Directory.GetFileSystemEntries(server.StagingFolder));
    }

    [Fact]
    public async Task What_a_job_would_hold_out_is_judged_where_its_share_is_given()
    {
        await using RunningServer server = await tiny.ServeAsync();
        TrainingClient training = server.Client.Training;
        DataSettings settings = new() { HeldOutShare = 0.2, Seed = 3, MaxSampleTokens = 64 };

        EvaluateResponse all = await training.EvaluateAsync(new EvaluateHeader(), JobSpecs.Data());
        EvaluateResponse part = await training.EvaluateAsync(new EvaluateHeader { Data = settings, ExactMatchSamples = -1, ExactMatchTokens = 1 }, JobSpecs.Data());
        TrainingJob started = await training.StartAsync(JobSpecs.Plain("pupil", steps: 2), JobSpecs.Data());
        await Jobs.FinishAsync(training, started.Id);
        double held = (await training.GetAsync(started.Id)).BestLoss;
        EvaluateResponse pupil = await training.EvaluateAsync(new EvaluateHeader { Adapter = "pupil", Data = settings }, JobSpecs.Data());

        Assert.Equal(8, part.ExactMatch.Total);
        Assert.True(part.Tokens < all.Tokens);
        Assert.Equal(held, pupil.Loss, 1e-5);
        Assert.Null(all.ExactMatch);
    }

    public static TheoryData<string, string[]> BadData => new()
    {
        { $"{Good}\n{{\"prompt\": \"a\"}}", ["facts.jsonl, line 2", "'completion'", "missing"] },
        { $"{Good}\n{{\"prompt\"", ["facts.jsonl, line 2", "broken JSON at byte "] },
        { "", ["facts.jsonl", "the set is empty"] },
        { $"{{\"prompt\": \"a\", \"completion\": \"{new string('x', 80)}\"}}", ["line 1", "'completion'", "MaxSampleTokens 64"] },
    };

    [Theory]
    [MemberData(nameof(BadData))]
    public async Task Bad_data_is_refused_with_file_line_and_field(string data, string[] named)
    {
        await using RunningServer server = await tiny.ServeAsync();
        EvaluateHeader header = new() { Data = new DataSettings { Name = "facts.jsonl", MaxSampleTokens = 64, LongSamples = "refuse" } };

        InferenceException error =
            await Assert.ThrowsAsync<InferenceException>(() => server.Client.Training.EvaluateAsync(header, JobSpecs.Bytes(data)));

        Assert.Equal(StatusCode.InvalidArgument, error.Status);
        Assert.All(named, part => Assert.Contains(part, error.Message, StringComparison.Ordinal));
        Assert.Empty(Directory.GetFileSystemEntries(server.StagingFolder));
    }

    public static TheoryData<EvaluateHeader, StatusCode, string> BadHeaders => new()
    {
        { new EvaluateHeader { ExactMatchSamples = -2 }, StatusCode.InvalidArgument, "exact_match_samples" },
        { new EvaluateHeader { ExactMatchTokens = -1 }, StatusCode.InvalidArgument, "exact_match_tokens" },
        { new EvaluateHeader { MaxExamples = 101 }, StatusCode.InvalidArgument, "max_examples" },
        { new EvaluateHeader { Data = new DataSettings { MaxSampleTokens = 1 } }, StatusCode.InvalidArgument, "data.max_sample_tokens" },
        { new EvaluateHeader { Data = new DataSettings { MaxSampleTokens = 513 } }, StatusCode.InvalidArgument, "513 exceeds the model's 512" },
        { new EvaluateHeader { Data = new DataSettings { HeldOutShare = 1 } }, StatusCode.InvalidArgument, "data.held_out_share" },
        { new EvaluateHeader { Data = new DataSettings { LongSamples = "keep" } }, StatusCode.InvalidArgument, "data.long_samples" },
        { new EvaluateHeader { Adapter = "nobody" }, StatusCode.NotFound, "nobody" },
    };

    [Theory]
    [MemberData(nameof(BadHeaders))]
    public async Task A_wrong_header_is_refused_by_its_field(EvaluateHeader header, StatusCode status, string named)
    {
        await using RunningServer server = await tiny.ServeAsync();

        InferenceException error =
            await Assert.ThrowsAsync<InferenceException>(() => server.Client.Training.EvaluateAsync(header, JobSpecs.Bytes(Good)));

        Assert.Equal(status, error.Status);
        Assert.Contains(named, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Too_much_data_is_refused_and_a_cancelled_evaluation_leaves_nothing()
    {
        await using RunningServer server = await tiny.ServeAsync("--max-training-data", "64KiB");
        TrainingClient training = server.Client.Training;
        using CancellationTokenSource cancellation = new();

        InferenceException error = await Assert.ThrowsAsync<InferenceException>(
            () => training.EvaluateAsync(new EvaluateHeader(), JobSpecs.Data(samples: 3000)));
        Task<EvaluateResponse> cancelled = training.EvaluateAsync(
            new EvaluateHeader { ExactMatchSamples = -1, ExactMatchTokens = 400 }, JobSpecs.Data(samples: 1000), cancellation.Token);
        await Eventually.Holds("data is staged", () => Directory.GetFileSystemEntries(server.StagingFolder).Length > 0);
        await cancellation.CancelAsync();

        Assert.Equal((StatusCode.ResourceExhausted, "the data set has more than 65536 bytes, the limit"), (error.Status, error.Message));
        await Assert.ThrowsAsync<OperationCanceledException>(() => cancelled);
        await Eventually.Holds("nothing is staged", () => Directory.GetFileSystemEntries(server.StagingFolder).Length == 0);
        Assert.True((await training.EvaluateAsync(new EvaluateHeader(), JobSpecs.Bytes(Good))).Loss > 0);
    }

    private static LanguageModel Load(string folder, CpuBackend backend) => LanguageModel.Load(
        folder, backend, new ModelLoadOptions { Weights = WeightFormat.F32, MaxBatchTokens = 64, MaxSampledRows = 64 });

    /// <summary>Questions of which some expect what the model says: a prompt whose first answered byte is a letter is asked for it.</summary>
    private static string Lines(GreedyGenerator generator, DeviceAdapter? adapter)
    {
        string[] prompts = [.. Enumerable.Range(0, 200).Select(i => i.ToString(CultureInfo.InvariantCulture) + " is")];
        ReadOnlyMemory<int>[] tokens = [.. prompts.Select(prompt => prompt.Select(letter => (int)letter).ToArray())];
        int[][] answers = generator.Generate(tokens, 1, adapter);
        (string Prompt, int Answer)[] known =
            [.. prompts.Zip(answers, (prompt, answer) => (prompt, answer[0])).Where(pair => char.IsAsciiLetterOrDigit((char)pair.Item2)).Take(5)];
        StringBuilder lines = new();
        foreach ((string prompt, int answer) in known)
        {
            lines.Append(CultureInfo.InvariantCulture, $$"""{"prompt": "{{prompt}}", "completion": "{{(char)answer}}"}""").Append('\n');
        }

        return lines
            .Append("{\"prompt\": \"what?\", \"completion\": \"something long\"}\n")
            .Append("{\"messages\": [{\"role\": \"user\", \"content\": \"hi\"}, {\"role\": \"assistant\", \"content\": \"hello there\"}]}\n")
            .Append("{\"text\": \"nobody is asked\"}\n")
            .ToString();
    }
}
