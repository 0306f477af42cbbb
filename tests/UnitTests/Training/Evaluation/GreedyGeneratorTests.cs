using InferenceServer.Cpu;
using InferenceServer.Engine.Requests;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Adapters;
using InferenceServer.TestKit;
using InferenceServer.TestKit.Golden;
using InferenceServer.TestKit.TinyModel;
using InferenceServer.Training.Evaluation;
using InferenceServer.UnitTests.Engine;
using InferenceServer.UnitTests.Transformer;
using Xunit;
using Xunit.Abstractions;

namespace InferenceServer.UnitTests.Training.Evaluation;

/// <summary>Answers equal PEFT's and the engine's, token for token, however many are computed together.</summary>
[Trait("Category", "Training")]
public sealed class GreedyGeneratorTests(ITestOutputHelper output)
{
    private static readonly string s_small = Path.Combine(AppContext.BaseDirectory, "Data", "golden");
    private static readonly string[] s_refused = ["LOHA", "LOKR"];
    private static readonly GreedyOptions s_narrow = new() { MaxBatchTokens = 3, MaxSequences = 2, MaxCacheTokens = 64 };

    [Fact]
    public void Small_golden_adapters_are_answered_as_by_PEFT() =>
        GoldenCases.RunFolders(output, "fixtures/adapters/*/*", folder => CheckAdapter(s_small, folder), s_small);

    [GoldenFact]
    [Trait("Category", "Golden")]
    public void Every_golden_adapter_is_answered_as_by_PEFT() =>
        GoldenCases.RunFolders(output, "fixtures/adapters/*/*", folder => CheckAdapter(GoldenData.Root!, folder));

    [GoldenFact]
    [Trait("Category", "Golden")]
    public void Every_golden_base_is_answered_as_by_transformers() => GoldenCases.RunFolders(output, "fixtures/bases/*", folder =>
    {
        using ExpectedTensors expected = new(folder);
        using GoldenModel golden = new(folder);
        CheckAnswers(golden, expected, null);
    });

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Answers_are_the_engines_with_and_without_an_adapter(bool drawsByBackend)
    {
        string[] prompts = ["The quick brown fox", "a", "To be, or not to be: that is the question", "0123456789", "Sixteen letters."];
        await using EngineHost host = await EngineHost.StartAsync();
        using CpuBackend machine = new(new CpuOptions { ThreadCount = 1 });
        using DrawingBackend drawing = new(machine);
        IComputeBackend backend = drawsByBackend ? drawing : machine;
        using GreedyGenerator generator = new(host.Transformer, backend, [], s_narrow with { MaxBatchTokens = 7, MaxSequences = 3 });
        using DeviceAdapter adapter = backend.CreateAdapter(
            host.Source.Load(EngineHost.Id("lora-1"), CancellationToken.None), WeightFormat.F32);
        ReadOnlyMemory<int>[] tokens = [.. prompts.Select(prompt => prompt.Select(letter => (int)letter).ToArray())];

        int[][] plain = generator.Generate(tokens, 24);
        int[][] adapted = generator.Generate(tokens, 24, adapter);

        for (int i = 0; i < prompts.Length; i++)
        {
            GenerationRequest request = EngineHost.Request(prompts[i]) with { Prompt = new TokenPrompt(tokens[i].ToArray()) };
            AdapterReference[] named = [new AdapterReference("lora-1")];
            Assert.Equal((await host.GenerateAsync(request)).Tokens, plain[i]);
            Assert.Equal((await host.GenerateAsync(request with { Adapters = named })).Tokens, adapted[i]);
            Assert.NotEqual(plain[i], adapted[i]);
        }

        Assert.Equal(drawsByBackend ? 2 * 24 * prompts.Length : 0, drawing.Drawn);
    }

    [Fact]
    public void An_answer_ends_with_the_first_end_token()
    {
        using TrainingBench bench = new();
        using GreedyGenerator endless = new(bench.Model, bench.Backend, []);
        int[] all = endless.Generate([TrainingBench.Tokens], 12)[0];
        int end = all[5];
        using GreedyGenerator generator = new(bench.Model, bench.Backend, [end]);

        int[] answer = generator.Generate([TrainingBench.Tokens], 12)[0];

        Assert.Equal(all[..(Array.IndexOf(all, end) + 1)], answer);
    }

    [Fact]
    public void A_prompt_that_the_model_cannot_take_is_refused()
    {
        using TrainingBench bench = new();
        using GreedyGenerator generator = new(bench.Model, bench.Backend, []);
        int context = bench.Model.MaxModelLength;
        int vocabulary = bench.Model.Config.VocabularySize;

        ArgumentException empty = Assert.Throws<ArgumentException>(() => generator.Generate([new int[] { 5 }, Array.Empty<int>()], 4));
        ArgumentException full = Assert.Throws<ArgumentException>(() => generator.Generate([new int[context]], 4));
        ArgumentException strange = Assert.Throws<ArgumentException>(() => generator.Generate([new[] { vocabulary }], 4));

        Assert.Equal("prompt 1 is empty", empty.Message);
        Assert.Equal($"prompt 0 of {context} tokens leaves no room in the context of {context}", full.Message);
        Assert.Equal($"token {vocabulary} of prompt 0 is outside the model's vocabulary of {vocabulary}", strange.Message);
        Assert.Equal(2, generator.Generate([Enumerable.Repeat(5, context - 2).ToArray()], 9)[0].Length);
    }

    private static void CheckAdapter(string root, string folder)
    {
        using ExpectedTensors expected = new(folder);
        if (s_refused.Contains(expected.Case.GetProperty("peft_type").GetString()!))
        {
            return;
        }

        using GoldenModel golden = new(Path.Combine(root, "fixtures", expected.Case.GetProperty("base").GetString()!));
        CheckAnswers(golden, expected, golden.Adapter(folder));
    }

    private static void CheckAnswers(GoldenModel golden, ExpectedTensors expected, DeviceAdapter? adapter)
    {
        int count = expected.Count("seq");
        ReadOnlyMemory<int>[] prompts = [.. Enumerable.Range(0, count).Select(i => expected.Ints($"seq{i}.input_ids"))];
        int length = expected.Ints("seq0.greedy").Length;
        using CpuBackend backend = new(new CpuOptions { ThreadCount = 1 });
        foreach (GreedyOptions options in (GreedyOptions[])[new GreedyOptions(), s_narrow])
        {
            using GreedyGenerator generator = new(golden.Model, backend, [], options);
            int[][] answers = generator.Generate(prompts, length, adapter);
            for (int i = 0; i < count; i++)
            {
                Assert.Equal(expected.Ints($"seq{i}.greedy"), answers[i]);
            }
        }
    }
}
