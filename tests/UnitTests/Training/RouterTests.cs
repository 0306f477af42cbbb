using System.Text.Json.Nodes;
using InferenceServer.AdapterStore;
using InferenceServer.AdapterStore.Cache;
using InferenceServer.AdapterStore.Catalog;
using InferenceServer.AdapterStore.Import;
using InferenceServer.Cpu;
using InferenceServer.Engine;
using InferenceServer.Engine.Adapters;
using InferenceServer.Engine.Merging;
using InferenceServer.Engine.Requests;
using InferenceServer.Engine.Scheduling;
using InferenceServer.Engine.Streaming;
using InferenceServer.Models;
using InferenceServer.Models.Transformer;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Adapters;
using InferenceServer.TestKit.Golden;
using InferenceServer.Training;
using InferenceServer.Training.Checkpoints;
using InferenceServer.Training.Export;
using InferenceServer.UnitTests.Engine;
using Xunit;
using Xunit.Abstractions;

namespace InferenceServer.UnitTests.Training;

/// <summary>From adapters of single tasks to a routed one that is served.</summary>
[Trait("Category", "Training")]
public sealed class RouterTests(RouterBench bench, ITestOutputHelper output) : IClassFixture<RouterBench>, IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("router-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public async Task A_router_is_better_on_all_tasks_together_than_each_adapter_alone_and_is_served_as_trained()
    {
        double best = double.PositiveInfinity;
        foreach (string task in RouterBench.Tasks)
        {
            using Trainer single = bench.Single(task);
            best = Math.Min(best, Report(task, RouterBench.LossByTask(single)));
        }

        using Trainer router = bench.Train(bench.Router(", \"bias\": true"), 2e-2);
        double even = Report("gates before", RouterBench.LossByTask(router));
        for (int step = 0; step < 120; step++)
        {
            router.Step(RouterBench.Mixture(step));
        }

        double trained = Report("gates after", RouterBench.LossByTask(router));
        Assert.True(trained < 0.25 * best, $"{trained} against {best} of the best single adapter");
        Assert.True(trained < 0.25 * even, $"{trained} against {even} of all adapters alike");
        PeftExporter.Write(router, _folder);
        string[] prompts = ["+d", "-d", "*d", "+xyz", "-cb"];
        int[][] expected = [.. prompts.Select(prompt => Greedy(router, prompt, 10))];
        output.WriteLine(string.Join(' ', prompts.Zip(expected, (prompt, tokens) => prompt + string.Concat(tokens.Select(token => (char)token)))));
        Assert.Equal(expected, await ServeAsync(prompts, 10));
    }

    [Theory]
    [InlineData("")]
    [InlineData(", \"temperature\": 0.5, \"bias\": true")]
    [InlineData(", \"top_k\": 2")]
    [InlineData(", \"top_k\": 2, \"bias\": true, \"temperature\": 2, \"train_blocks\": true")]
    [InlineData(", \"train_blocks\": true, \"bias\": true")]
    public void What_is_served_is_what_was_trained(string more)
    {
        using Trainer router = bench.Train(bench.Router(more));
        double before = router.Step(RouterBench.Mixture(0)).Loss;
        for (int step = 1; step < 20; step++)
        {
            router.Step(RouterBench.Mixture(step));
        }

        Assert.True(router.Evaluate(RouterBench.Mixture(0)) < before);
        PeftExporter.Write(router, _folder);
        AdapterWeights imported = new PeftImporter(bench.Model.Shape).Import(_folder, "routed").Weights;
        foreach (SupervisedSequence sequence in RouterBench.Mixture(77).Sequences)
        {
            Tolerance.AssertClose(router.Logits(sequence.Tokens), bench.Serve(imported, sequence.Tokens), 1e-5, "served logits");
        }

        // The sources stay as they were, unless they are to be trained.
        AdapterWeights[] sources = [.. RouterBench.Tasks.Select(bench.Import)];
        bool isSame = imported.Deltas.Select((delta, i) => delta is null || delta.A!.Values.AsSpan()
            .SequenceEqual([.. sources.SelectMany(source => source.Deltas[i]!.A!.Values)])).All(same => same);
        Assert.Equal(!more.Contains("train_blocks", StringComparison.Ordinal), isSame);

        // And training goes on from the file.
        using Trainer next = bench.Train(bench.Router(more), start: _folder);
        Assert.Equal(router.Evaluate(RouterBench.Mixture(5)), next.Evaluate(RouterBench.Mixture(5)));
    }

    [Fact]
    public void Four_steps_resumed_for_four_more_are_eight_steps_in_every_bit()
    {
        const string More = ", \"top_k\": 2, \"bias\": true";
        CheckpointStore store = new(_folder, keepLast: 1);
        using Trainer whole = bench.Train(bench.Router(More));
        using Trainer first = bench.Train(bench.Router(More));
        for (int step = 0; step < 8; step++)
        {
            whole.Step(RouterBench.Mixture(step));
            if (step < 4)
            {
                first.Step(RouterBench.Mixture(step));
            }
        }

        store.Save(first, new RunProgress());
        using Trainer second = bench.Train(bench.Router(More));
        store.RestoreLatest(second);
        for (int step = 4; step < 8; step++)
        {
            second.Step(RouterBench.Mixture(step));
        }

        TrainerState expected = whole.CaptureState();
        TrainerState found = second.CaptureState();
        Assert.Equal((expected.StepCount, expected.ForwardCount), (found.StepCount, found.ForwardCount));
        Assert.Equal(expected.Tensors, found.Tensors);

        // A source that has changed meanwhile is noticed.
        using Trainer other = bench.Train(RouterBench.Router(RouterBench.Tasks, name => bench.Import(name == "up" ? "twos" : name), More));
        CheckpointException error = Assert.Throws<CheckpointException>(() => store.RestoreLatest(other));
        Assert.Contains("lora_A.weight has other values", error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("""{"peft_type": "LORA", "r": 3, "use_rslora": true, "target_modules": ["q_proj", "down_proj"], "rank_pattern": {"down_proj": 5} }""")]
    [InlineData("""{"peft_type": "LORA", "r": 3, "init_lora_weights": "pissa", "target_modules": ["q_proj"]}""")]
    [InlineData("""{"peft_type": "ADALORA", "init_r": 4, "target_r": 2, "total_step": 10, "target_modules": ["v_proj", "down_proj"]}""")]
    [InlineData("""{"peft_type": "VERA", "r": 8, "target_modules": ["q_proj", "gate_proj"]}""")]
    public void A_router_that_is_sure_of_an_adapter_is_that_adapter_whatever_made_it(string config)
    {
        string source = Path.Combine(_folder, "source");
        using (Trainer trainer = bench.Train(RouterBench.Recipe(config)))
        {
            trainer.Step(RouterBench.Mixture(1));
            trainer.Step(RouterBench.Mixture(2));
            PeftExporter.Write(trainer, source);
        }

        AdapterWeights alone = new PeftImporter(bench.Model.Shape).Import(source, "other").Weights;
        using Trainer router = bench.Train(RouterBench.Router(["up", "other"], name => name == "up" ? bench.Import(name) : alone, ", \"bias\": true"));
        foreach (Parameter parameter in router.TrainedParameters.Where(parameter => parameter.Name.EndsWith("bias", StringComparison.Ordinal)))
        {
            bench.Backend.Write([-200, 200], parameter.ValueBuffer);
        }

        PeftExporter.Write(router, _folder);

        int[] tokens = RouterBench.Sequences(0, 5, 1)[0].Tokens;
        float[] expected = bench.Serve(alone, tokens);
        Tolerance.AssertClose(expected, router.Logits(tokens), 1e-5, "trained logits");
        Tolerance.AssertClose(
            expected, bench.Serve(new PeftImporter(bench.Model.Shape).Import(_folder, "routed").Weights, tokens), 1e-5, "served logits");
        JsonObject ranks = JsonNode.Parse(File.ReadAllText(Path.Combine(_folder, "adapter_config.json")))!["router_config"]!["block_ranks"]!.AsObject();
        Assert.Equal(14, ranks.Count);
        Assert.Equal(
            bench.Model.Shape.Modules.Where(module => ranks.ContainsKey(module.Path)).Select(module => alone.Deltas[module.Index]?.Rank ?? 0),
            bench.Model.Shape.Modules.Where(module => ranks.ContainsKey(module.Path)).Select(module => (int)ranks[module.Path]![1]!));
    }

    [Theory]
    [InlineData("""{"peft_type": "LORA", "r": 3, "use_dora": true, "target_modules": ["q_proj"]}""", "an output scale")]
    [InlineData("""{"peft_type": "IA3", "target_modules": ["k_proj", "down_proj"], "feedforward_modules": ["down_proj"]}""", "an output scale")]
    [InlineData("""{"peft_type": "LORA", "r": 3, "target_modules": ["embed_tokens"]}""", "a pair on model.embed_tokens")]
    [InlineData("""{"peft_type": "LORA", "r": 3, "target_modules": ["q_proj"], "modules_to_save": ["norm"]}""", "a replaced weight")]
    [InlineData("""{"peft_type": "ROUTED_LORA", "router_config": {"adapters": ["up", "down"]} }""", "gates of its own")]
    public void A_source_that_is_more_than_pairs_is_refused_by_name(string config, string obstacle)
    {
        AdapterRecipe recipe = RouterBench.Recipe(config).WithSources(RouterBench.Tasks.ToDictionary(name => name, bench.Import));
        using (Trainer trainer = bench.Train(recipe))
        {
            PeftExporter.Write(trainer, _folder);
        }

        AdapterWeights source = new PeftImporter(bench.Model.Shape).Import(_folder, "other").Weights;
        AdapterFormatException error = Assert.Throws<AdapterFormatException>(
            () => bench.Train(RouterBench.Router(["up", "other"], name => name == "up" ? bench.Import(name) : source)).Dispose());

        Assert.Equal("router_config.adapters", error.Subject);
        Assert.Contains($"'other', which has {obstacle}", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Sources_that_are_missing_of_another_base_or_too_many_ranks_are_refused_by_name()
    {
        Refused(RouterBench.Recipe("""{"peft_type": "ROUTED_LORA", "router_config": {"adapters": ["up", "down"]} }"""), "'up'");
        Refused(
            RouterBench.Recipe("""{"peft_type": "ROUTED_LORA", "router_config": {"adapters": ["up", "down"]} }""")
                .WithSources(new Dictionary<string, AdapterWeights> { ["up"] = bench.Import("up") }),
            "'down'");
        Refused(RouterBench.Router(["up", "other"], name => name == "up" ? bench.Import(name) : new AdapterWeights(name, [null, null])), "of another base");
        string[] many = [.. Enumerable.Range(0, 64).Select(i => $"up-{i}")];
        AdapterWeights wide = Widened(bench.Import("up"), 9);
        Refused(RouterBench.Router(many, _ => wide), "MaxRank 512");

        void Refused(AdapterRecipe recipe, string because)
        {
            AdapterFormatException error = Assert.Throws<AdapterFormatException>(() => bench.Train(recipe).Dispose());
            Assert.Equal("router_config.adapters", error.Subject);
            Assert.Contains(because, error.Message, StringComparison.Ordinal);
        }
    }

    [Theory]
    [InlineData(", \"block_ranks\": {\"model.layers.0.self_attn.q_proj\": [6, 6, 6]}", "", "router_config.block_ranks")]
    [InlineData(", \"top_k\": 4", "", "router_config.top_k")]
    [InlineData(", \"top_k\": 1", "", "router_config.top_k")]
    [InlineData("", ", \"lora_dropout\": 0.1", "lora_dropout")]
    [InlineData("", ", \"target_modules\": [\"q_proj\"]", "target_modules")]
    [InlineData("", ", \"modules_to_save\": [\"norm\"]", "modules_to_save")]
    [InlineData("", ", \"r\": 8", "r")]
    [InlineData("", ", \"delta_lora_config\": {\"warm_up_steps\": 0}", "delta_lora_config")]
    public void What_a_router_cannot_be_is_refused_by_name(string more, string beside, string field)
    {
        AdapterFormatException error = Assert.Throws<AdapterFormatException>(() => RouterBench.Recipe(
            $$"""{"peft_type": "ROUTED_LORA"{{beside}}, "router_config": {"adapters": ["up", "down", "twos"]{{more}} } }"""));

        Assert.Equal(field, error.Subject);
    }

    private double Report(string what, double[] losses)
    {
        output.WriteLine(FormattableString.Invariant(
            $"{what}: up {losses[0]:f3}, down {losses[1]:f3}, twos {losses[2]:f3}, together {losses.Average():f3}"));
        return losses.Average();
    }

    private static int[] Greedy(Trainer trainer, string prompt, int count)
    {
        List<int> tokens = [.. prompt.Select(character => (int)character)];
        for (int i = 0; i < count; i++)
        {
            float[] logits = trainer.Logits([.. tokens]);
            Span<float> last = logits.AsSpan(logits.Length - (logits.Length / tokens.Count));
            tokens.Add(last.IndexOf(System.Numerics.Tensors.TensorPrimitives.Max<float>(last)));
        }

        return [.. tokens.Skip(prompt.Length)];
    }

    /// <summary>Greedy tokens of the engine for all prompts at once, with the exported adapter uploaded to a catalog.</summary>
    private async Task<int[][]> ServeAsync(string[] prompts, int count)
    {
        using CpuBackend backend = new(new CpuOptions { ThreadCount = 1 });
        using LanguageModel model = LanguageModel.Load(
            bench.ModelFolder, backend, new ModelLoadOptions { Weights = WeightFormat.F32, MaxBatchTokens = 64, MaxSampledRows = 16 });
        using AdapterCatalog catalog = new(new AdapterCatalogOptions { Root = Path.Combine(_folder, "data") }, model.Transformer.Shape);
        AdapterRecord record = catalog.ImportFolder("all-tasks", _folder);
        Assert.Equal(RouterBench.Tasks, record.Manifest.RoutedAdapters);
        AdapterCacheOptions cacheOptions = new() { DeviceBudgetBytes = 1 << 24 };
        using AdapterCache cache = new(catalog, backend, WeightFormat.F32, cacheOptions);
        AdapterAccess access = new(name => catalog.Get(name).Id, catalog, cache, cacheOptions.DeviceBudgetBytes, WeightFormat.F32);
        await using InferenceEngine engine = new(
            model,
            backend,
            access,
            new EngineOptions { KvBlocks = 64 },
            new SchedulerOptions { MaxBatchTokens = 16, MaxRunningSequences = 8, KvBlockSize = 8 },
            new MergeOptions());
        await engine.StartAsync();
        EngineHost.Result[] results = await Task.WhenAll(prompts.Select(async prompt =>
        {
            await using GenerationStream stream = await engine.SubmitAsync(EngineHost.Request(prompt, count, new AdapterReference("all-tasks")));
            return await EngineHost.ReadAsync(stream);
        })).WaitAsync(EngineHost.Patience);
        return [.. results.Select(result => result.Tokens.ToArray())];
    }

    private static AdapterWeights Widened(AdapterWeights weights, int rank) => new(weights.Label, [.. weights.Deltas.Select(delta => delta is null ? null : delta with
    {
        A = new HostMatrix(rank, delta.A!.Columns, new float[rank * delta.A.Columns]),
        B = new HostMatrix(delta.B!.Rows, rank, new float[rank * delta.B.Rows]),
    })]);
}
