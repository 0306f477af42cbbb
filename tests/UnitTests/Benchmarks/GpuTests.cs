using InferenceServer.Benchmarks.Gpu;
using InferenceServer.Benchmarks.Gpu.Conformance;
using InferenceServer.Benchmarks.Gpu.Models;
using InferenceServer.Benchmarks.Gpu.Results;
using InferenceServer.Cpu;
using InferenceServer.Models.Transformer;
using Xunit;

namespace InferenceServer.UnitTests.Benchmarks;

public sealed class GpuTests : IDisposable
{
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("gpu-tests-");

    public void Dispose() => _folder.Delete(recursive: true);

    [Theory]
    [InlineData("qwen2.5-0.5b", 494_032_768)]
    [InlineData("llama-3.2-1b", 1_235_814_400)]
    [InlineData("llama-3-8b", 8_030_261_248)]
    public void Shapes_have_the_parameters_of_the_published_models(string name, long parameters)
    {
        Assert.Equal(parameters, Parameters(ModelDimensions.Named(name)));
    }

    [Theory]
    [InlineData("llama", false)]
    [InlineData("qwen2", true)]
    public void A_model_that_was_made_loads_and_has_its_parameters(string type, bool isTied)
    {
        ModelDimensions shape = ModelDimensions.Named("tiny") with { Type = type, IsTied = isTied };
        string folder = Path.Combine(_folder.FullName, "model");

        ModelFolder.Write(shape, folder);

        using CpuBackend backend = new(new CpuOptions { ThreadCount = 1 });
        using TransformerModel model = TransformerModel.Load(folder, backend, new ModelLoadOptions { MaxBatchTokens = 4, MaxSampledRows = 1 });
        Assert.Equal(Parameters(shape), model.ParameterCount);
    }

    [Fact]
    public void A_later_result_takes_the_place_of_an_earlier_one_and_half_a_line_is_none()
    {
        GpuResults results = new(_folder.FullName);
        results.Add(Result("speed", "a", "decode", 1));
        results.Add(Result("speed", "a", "prefill", 2));
        results.Add(Result("speed", "a", "decode", 3));
        File.AppendAllText(Path.Combine(_folder.FullName, "results.jsonl"), "{\"stage\":\"speed\",\"subj");

        Assert.Equal([("decode", 3.0), ("prefill", 2.0)], results.ReadAll().Select(result => (result.What, result.Value)));
        Assert.Equal(3, results.Find("speed", "a", "decode"));
        Assert.True(double.IsNaN(results.Find("speed", "b", "decode")));
    }

    [Fact]
    public void A_stage_that_begins_again_forgets_its_failures_and_keeps_its_numbers()
    {
        GpuResults results = new(_folder.FullName);
        results.Add(Result("speed", "a", "decode", 1));
        results.Add(Result("speed", "a", "failure 1", double.NaN, GpuResult.FailedUnit));
        results.Add(Result("tenants", "a", "failure 1", double.NaN, GpuResult.FailedUnit));
        results.Add(Result("speed", "speed", GpuResult.Begun, double.NaN));

        Assert.Equal([("speed", "decode"), ("tenants", "failure 1")], results.ReadAll().Select(result => (result.Stage, result.What)));
    }

    [Fact]
    public void Every_bar_is_named_and_says_what_was_seen()
    {
        GpuResults results = new(_folder.FullName);
        results.Add(Result("speed", "llama-3-8b", SpeedStage.Decode(1), 200) with { Ceiling = 240 });
        results.Add(Result("churn", "llama-3.2-1b", ChurnStage.LargestStep, 1.21));
        results.Add(Result("conformance", ConformanceStage.Subject, ConformanceStage.Passed, 199) with { Ceiling = 200 });

        string report = results.WriteReport();

        IReadOnlyList<GpuBar> bars = GpuBars.Of(results.ReadAll());
        Assert.All(bars, bar => Assert.Contains($"| {bar.Name} |", report, StringComparison.Ordinal));
        Assert.Equal("reached", Verdict("8 B decode, batch 1"));
        Assert.Equal("**missed**", Verdict("largest step while cold adapters arrive"));
        Assert.Equal("**missed**", Verdict("conformance on the device"));
        Assert.Equal("not measured", Verdict("1000 adapters over 5"));
        Assert.Equal(1.1 / 1.21, bars.Single(bar => bar.AtMost && !double.IsNaN(bar.Seen)).Ratio, precision: 9);
        Assert.Contains("8 B decode, batch 1", File.ReadAllText(Path.Combine(_folder.FullName, "gpu.svg")), StringComparison.Ordinal);
        Assert.Contains("\"seen\": 1.21", File.ReadAllText(Path.Combine(_folder.FullName, "gpu.json")), StringComparison.Ordinal);

        string Verdict(string name) => bars.Single(bar => bar.Name == name).Verdict;
    }

    [Fact]
    public void Budgets_and_stages_are_those_that_were_asked_for()
    {
        GpuOptions options = GpuOptions.Parse(["--stages", "speed,device", "--budget", "speed=7", "--work", _folder.FullName]);

        Assert.Equal(["speed", "device"], options.Stages.Select(stage => stage.Name));
        Assert.Equal(TimeSpan.FromSeconds(7), options.BudgetOf(options.Stages[0]));
        Assert.Equal(TimeSpan.FromSeconds(40), options.BudgetOf(options.Stages[1]));
        Assert.NotEqual(_folder.FullName, options.Work);
        Assert.StartsWith(_folder.FullName, options.Work, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("--stages", "nix", "--stages 'nix' is none of device,")]
    [InlineData("--budget", "speed", "--budget 'speed' is not STAGE=SECONDS")]
    [InlineData("--budget", "speed=0", "--budget speed '0' is not a whole number of at least 1")]
    [InlineData("--device", "tpu", "--device 'tpu' is none of cuda, cpu")]
    [InlineData("--tenants", "tiny,tiny", "--tenants takes one shape")]
    public void A_wrong_option_is_named(string name, string value, string message)
    {
        ArgumentException error = Assert.Throws<ArgumentException>(() => GpuOptions.Parse([name, value]));

        Assert.StartsWith(message, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Ways_take_turns_and_are_compared_round_by_round()
    {
        List<string> order = [];
        int calls = 0;
        Task<double> Measure(string name, double rate)
        {
            order.Add(name);
            return Task.FromResult(rate * (1 + calls++));
        }

        Alternation ways = new(("a", () => Measure("a", 2)), ("b", () => Measure("b", 1)));
        await ways.RunAsync(rounds: 3, () => ways.Rounds < 2);

        Assert.Equal("ab ab ba", string.Join("", order).Insert(4, " ").Insert(2, " "));
        Assert.Equal(2, ways.Rounds);

        // Rounds of (2 * 3, 4) and (2 * 6, 5).
        Assert.Equal(((6.0 / 4) + (12.0 / 5)) / 2, ways.Ratio("a", "b"), precision: 9);
        Assert.Equal(12, ways.Best("a"));
    }

    private static long Parameters(ModelDimensions shape)
    {
        long norms = ((2L * shape.Layers) + 1) * shape.Hidden;
        long biases = shape.Type == "qwen2" ? shape.Layers * ((long)shape.Hidden + (2 * shape.KvHeads * shape.HeadSize)) : 0;
        long embedding = shape.IsTied ? 0 : (long)shape.Vocabulary * shape.Hidden;
        return shape.MultipliedParameters + embedding + norms + biases;
    }

    private static GpuResult Result(string stage, string subject, string what, double value, string unit = "tokens/s") => new()
    {
        Stage = stage,
        Subject = subject,
        What = what,
        Value = value,
        Unit = unit,
        Note = "",
        At = new DateTime(2026, 1, 1, 0, 0, 0, DateTimeKind.Utc),
    };
}
