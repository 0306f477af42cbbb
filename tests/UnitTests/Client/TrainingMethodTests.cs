using System.Text;
using System.Text.Json;
using InferenceServer.AdapterStore;
using InferenceServer.Client;
using InferenceServer.Protocol.V1;
using InferenceServer.Training;
using InferenceServer.UnitTests.Training;
using Xunit;

namespace InferenceServer.UnitTests.Client;

/// <summary>The client library's presets say what the training library reads.</summary>
public sealed class TrainingMethodTests
{
    private const int Steps = 100;

    public static TheoryData<string> AdapterMethods =>
        [.. TrainingMethods.All.Where(method => method.TrainsAdapter && !method.RoutesAdapters).Select(method => method.Name)];

    [Theory]
    [MemberData(nameof(AdapterMethods))]
    public void Every_preset_is_understood_and_fits_a_model(string name)
    {
        AdapterSettings settings = new() { Rank = Get(name).DefaultRank > 0 ? 4 : 0 };
        TrainingSpec spec = Get(name).CreateSpec("tenant", settings, Steps);
        AdapterRecipe recipe = Parse(spec);
        using TrainingBench bench = new();

        if (recipe.LoraDrop is not null)
        {
            recipe = LoraDropWarmUp.Choose(
                bench.Model, bench.Backend, bench.Operations, recipe, TrainingBench.Options, [TrainingBench.Batch]).Recipe;
        }

        using Trainer trainer = Trainer.ForAdapter(bench.Model, bench.Backend, bench.Operations, recipe, TrainingBench.Options);
        Assert.NotEmpty(trainer.TrainedParameters);
        Assert.Equal("tenant", spec.Adapter);
        Assert.Equal(Steps, spec.Run.Steps);
    }

    [Theory]
    [InlineData("lora", AdapterMethod.Lora, 8, 16)]
    [InlineData("vera", AdapterMethod.Vera, 256, 0)]
    [InlineData("adalora", AdapterMethod.AdaLora, 12, 16)]
    public void Ranks_and_alphas_have_their_defaults(string name, AdapterMethod method, int rank, int alpha)
    {
        AdapterRecipe recipe = Parse(Get(name).CreateSpec("a", steps: Steps));

        Assert.Equal(method, recipe.Peft.Method);
        Assert.Equal(rank, recipe.Peft.Rank);
        Assert.Equal(alpha, recipe.Peft.Alpha);
    }

    [Fact]
    public void What_makes_a_method_is_set()
    {
        Assert.True(Parse(Get("rslora").CreateSpec("a")).Peft.UsesRankStabilisedScale);
        Assert.True(Parse(Get("dora").CreateSpec("a")).Peft.UsesDora);
        Assert.Equal("pissa", Parse(Get("pissa").CreateSpec("a")).Initialisation);
        Assert.Equal("olora", Parse(Get("olora").CreateSpec("a")).Initialisation);
        Assert.Equal(0.9, Parse(Get("lora-drop").CreateSpec("a")).LoraDrop!.Threshold);
        Assert.Equal(new DeltaLoraConfig(2, 10), Parse(Get("delta-lora").CreateSpec("a", steps: Steps)).DeltaLora);
        Assert.True(Get("lora-fa").CreateSpec("a").Optimizer.FreezeA);
        Assert.Equal("lora_fa", Get("lora-fa-projected").CreateSpec("a").Optimizer.Kind);
        Assert.Equal("lora_plus", Get("lora-plus").CreateSpec("a").Optimizer.Kind);
        Assert.Equal("nf4", Get("qlora").CreateSpec("a").BaseWeights);
        Assert.Equal("", Get("full").CreateSpec("a").AdapterConfig);
    }

    [Fact]
    public void A_router_weighs_the_adapters_that_it_is_given()
    {
        AdapterRecipe all = Parse(Get("router").CreateSpec("a", new AdapterSettings { Over = ["fr", "code"] }));
        AdapterRecipe two = Parse(Get("router").CreateSpec("a", new AdapterSettings { Over = ["fr", "code", "law"], TopK = 2 }));

        Assert.Equal(["fr", "code"], all.RoutedAdapters);
        Assert.Equal(["fr", "code", "law"], two.RoutedAdapters);
        Assert.Contains("\"top_k\":2", Get("router").CreateSpec("a", new AdapterSettings { Over = ["fr", "code"], TopK = 2 }).AdapterConfig, StringComparison.Ordinal);
    }

    [Fact]
    public void AdaLoRAs_budget_follows_rank_and_steps()
    {
        AdaLoraSchedule schedule = Parse(Get("adalora").CreateSpec("a", new AdapterSettings { Rank = 16 }, steps: 250)).AdaLora!;

        Assert.Equal((24, 16), (schedule.InitialRank, schedule.TargetRank));
        Assert.Equal((25, 75, 250), (schedule.WarmUpSteps, schedule.FinalSteps, schedule.TotalSteps));
    }

    [Theory]
    [InlineData("all-linear", "\"all-linear\"")]
    [InlineData(".*layers\\.0\\..*", "\".*layers\\\\.0\\\\..*\"")]
    [InlineData("q_proj", "[\"q_proj\"]")]
    [InlineData("(q|v)_proj{1,1}", "\"(q|v)_proj{1,1}\"")]
    [InlineData("q_proj, mlp.c_proj", "[\"q_proj\",\"mlp.c_proj\"]")]
    public void Targets_are_a_keyword_a_pattern_or_names(string given, string expected)
    {
        TrainingSpec spec = Get("lora").CreateSpec("a", new AdapterSettings { Targets = AdapterSettings.ParseTargets(given) });

        Assert.Equal(expected, JsonDocument.Parse(spec.AdapterConfig).RootElement.GetProperty("target_modules").GetRawText());
    }

    [Fact]
    public void IA3s_feed_forward_modules_are_targets_too()
    {
        TrainingSpec spec = Get("ia3").CreateSpec("a", new AdapterSettings { Targets = ["v_proj", "down_proj"] });

        Assert.Equal(
            "[\"down_proj\"]", JsonDocument.Parse(spec.AdapterConfig).RootElement.GetProperty("feedforward_modules").GetRawText());
    }

    [Fact]
    public void A_learning_rate_is_kept_and_else_begins_where_the_method_works()
    {
        TrainingSpec given = new() { Optimizer = new OptimizerSettings { LearningRate = 3e-4 } };
        Get("vera").ApplyTo(given);

        Assert.Equal(3e-4, given.Optimizer.LearningRate);
        Assert.Equal(2e-3, Get("vera").CreateSpec("a").Optimizer.LearningRate, 1e-12);
        Assert.Equal(2e-4, Get("lora").CreateSpec("a").Optimizer.LearningRate, 1e-12);
    }

    [Fact]
    public void Settings_that_a_method_has_not_are_refused_by_name()
    {
        Refused("ia3 has no rank", "ia3", new AdapterSettings { Rank = 4 });
        Refused("vera has no alpha", "vera", new AdapterSettings { Alpha = 4 });
        Refused("dora has no dropout", "dora", new AdapterSettings { Dropout = 0.1 });
        Refused("full has no target modules", "full", new AdapterSettings { Targets = ["q_proj"] });
        Refused("lora has no adapters to route over", "lora", new AdapterSettings { Over = ["fr", "code"] });
        Refused("lora has no top-k", "lora", new AdapterSettings { TopK = 2 });
        Refused("router has no rank", "router", new AdapterSettings { Over = ["fr", "code"], Rank = 8 });
        Refused("router has no target modules", "router", new AdapterSettings { Over = ["fr", "code"], Targets = ["q_proj"] });
        Refused("router weighs two adapters or more, each named once; given were none", "router", null);
        Refused("router weighs two adapters or more, each named once; given were fr", "router", new AdapterSettings { Over = ["fr"] });
        Refused("router weighs two adapters or more, each named once; given were fr, code, fr", "router", new AdapterSettings { Over = ["fr", "code", "fr"] });
        Refused("top-k 1 is not from 2 to 2", "router", new AdapterSettings { Over = ["fr", "code"], TopK = 1 });
        Refused("top-k 3 is not from 2 to 2", "router", new AdapterSettings { Over = ["fr", "code"], TopK = 3 });
        Refused("adalora has a schedule over the run", "adalora", null);
        Refused("delta-lora has a schedule over the run", "delta-lora", null);

        static void Refused(string message, string name, AdapterSettings? settings) =>
            Assert.StartsWith(
                message, Assert.Throws<ArgumentException>(() => Get(name).CreateSpec("a", settings)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Dropout_has_the_methods_own_field()
    {
        AdapterSettings settings = new() { Dropout = 0.25 };

        Assert.Equal(0.25f, Parse(Get("lora").CreateSpec("a", settings)).Dropout);
        Assert.Equal(0.25f, Parse(Get("vera").CreateSpec("a", settings)).Dropout);
    }

    private static TrainingMethod Get(string name) =>
        TrainingMethods.TryGet(name, out TrainingMethod? method) ? method : throw new ArgumentException(name);

    private static AdapterRecipe Parse(TrainingSpec spec) => AdapterRecipe.Parse(Encoding.UTF8.GetBytes(spec.AdapterConfig));
}
