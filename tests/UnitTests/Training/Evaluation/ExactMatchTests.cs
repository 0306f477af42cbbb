using System.Text;
using InferenceServer.Cpu;
using InferenceServer.Cpu.Training;
using InferenceServer.Models;
using InferenceServer.Models.Transformer;
using InferenceServer.Tensors;
using InferenceServer.TestKit.TinyModel;
using InferenceServer.Training;
using InferenceServer.Training.Data;
using InferenceServer.Training.Evaluation;
using InferenceServer.Training.Export;
using InferenceServer.UnitTests.AdapterStore;
using Xunit;

namespace InferenceServer.UnitTests.Training.Evaluation;

/// <summary>What counts as the expected answer, on a tiny base with a tokenizer of one token a byte.</summary>
[Trait("Category", "Training")]
public sealed class ExactMatchTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();
    private readonly CpuBackend _backend = new(new CpuOptions { ThreadCount = 2, Products = CpuProducts.Vectors });
    private readonly LanguageModel _model;

    public ExactMatchTests()
    {
        new TinyLlama().Write(_folder["base"]);
        ModelLoadOptions options = new() { Weights = WeightFormat.F32, MaxBatchTokens = 64, MaxSampledRows = 64 };
        _model = LanguageModel.Load(_folder["base"], _backend, options);
    }

    [Fact]
    public void What_the_model_says_itself_matches_and_anything_else_is_shown_with_its_line()
    {
        using GreedyGenerator generator = new(_model.Transformer, _backend, _model.Defaults.EosTokenIds);
        int[] prompt = [.. "Say it"u8.ToArray().Select(value => (int)value)];
        int[] answer = generator.Generate([prompt], 8)[0];
        SampleQuestion[] questions =
        [
            new SampleQuestion(prompt, answer, 1),
            new SampleQuestion(prompt, (int[])[.. answer, ' ', '\n'], 2),
            new SampleQuestion(prompt, (int[])[.. answer, 'x'], 3),
            new SampleQuestion(prompt, (int[])['n', 'o', TinyLlama.EndToken, '!'], 5),
        ];

        ExactMatchResult all = Measure(null, questions, new ExactMatchOptions { MaxTokens = 8, MaxExamples = 9 });
        ExactMatchResult three = Measure(null, questions, new ExactMatchOptions { MaxTokens = 8, MaxQuestions = 3 });

        Assert.Equal((2, 4, 0.5), (all.Right, all.Total, all.Share));
        Assert.Equal([3, 5], all.Wrong.Select(wrong => wrong.Line));
        Assert.Equal(("Say it", "no"), (all.Wrong[1].Prompt, all.Wrong[1].Expected));
        Assert.Equal(_model.Tokenizer!.Decode(answer).TrimEnd(), all.Wrong[1].Answer);
        Assert.Equal((2, 3, 0), (three.Right, three.Total, three.Wrong.Count));
    }

    [Fact]
    public void An_adapter_that_learnt_its_answers_gives_them_from_its_exported_folder()
    {
        Dataset samples = Read(
            """
            {"prompt": "colour? ", "completion": "red"}
            {"prompt": "number? ", "completion": "seven"}
            {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]}
            {"text": "not asked"}
            """);
        TrainingOptions options = new() { LearningRate = 1e-2, MaxBatchTokens = 128 };
        using ITrainingBackend operations = CpuTraining.Create(_backend);
        using Trainer trainer = Trainer.ForAdapter(_model.Transformer, _backend, operations, Recipe(), options);
        SupervisedBatch batch = new([.. samples.Samples.Take(2)]);
        while (trainer.StepCount < 200 && trainer.Step(batch).Loss > 0.01)
        {
        }

        PeftExporter.Write(trainer, _folder["trained"]);
        SampleQuestion[] questions = [.. samples.Questions];
        ExactMatchResult before = Measure(null, questions, new ExactMatchOptions { MaxTokens = 12, MaxExamples = 3 });
        ExactMatchResult after = Measure(_folder["trained"], questions, new ExactMatchOptions { MaxTokens = 12, MaxExamples = 3 });

        Assert.Equal((0, 3), (before.Right, before.Total));
        Assert.Equal((2, 3), (after.Right, after.Total));
        WrongAnswer untaught = Assert.Single(after.Wrong);
        Assert.Equal((3, "<|begin|>user: hi\nassistant: ", "hello"), (untaught.Line, untaught.Prompt, untaught.Expected));
    }

    [Fact]
    public void A_cancelled_measurement_stops()
    {
        SampleQuestion question = new(new[] { 5 }, new[] { 6 }, 1);

        Assert.Throws<OperationCanceledException>(() => ExactMatch.OfFolder(
            _model, _backend, null, [question], new ExactMatchOptions(), new CancellationToken(canceled: true)));
    }

    public void Dispose()
    {
        _model.Dispose();
        _backend.Dispose();
        _folder.Dispose();
    }

    private ExactMatchResult Measure(string? adapter, IEnumerable<SampleQuestion> questions, ExactMatchOptions options)
    {
        using CpuBackend own = new(new CpuOptions { ThreadCount = 1, Products = CpuProducts.Vectors });
        return ExactMatch.OfFolder(_model, own, adapter, questions, options);
    }

    private Dataset Read(string lines)
    {
        using MemoryStream stream = new(Encoding.UTF8.GetBytes(lines));
        return Dataset.Read(stream, "set.jsonl", _model.Tokenizer!, _model.ChatTemplates, new DatasetOptions());
    }

    private static AdapterRecipe Recipe() =>
        AdapterRecipe.Parse("""{"peft_type": "LORA", "r": 8, "lora_alpha": 16, "target_modules": "all-linear"}"""u8.ToArray());
}
