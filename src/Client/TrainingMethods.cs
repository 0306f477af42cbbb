using System.Diagnostics.CodeAnalysis;

namespace InferenceServer.Client;

/// <summary>
/// The methods that a server can train, as data: PEFT's names where PEFT has them, the server's own (<c>delta_lora_config</c>,
/// <c>lora_drop_config</c>) where it has not.
/// </summary>
public static class TrainingMethods
{
    internal const string AllLinear = "all-linear";

    private const string LoraDropout = "lora_dropout";

    private static readonly Dictionary<string, double> s_rank = new() { ["r"] = 1 };

    private static readonly TrainingMethod s_lora = new()
    {
        Name = "lora",
        Summary = "a low-rank pair beside every target, y = W x + alpha/r B (A x)",
        Config = """{"peft_type": "LORA", "target_modules": "all-linear"}""",
        RankShares = s_rank,
        DefaultRank = 8,
        HasAlpha = true,
        DropoutField = LoraDropout,
    };

    /// <summary>All of them, LoRA first.</summary>
    public static IReadOnlyList<TrainingMethod> All { get; } =
    [
        s_lora,
        s_lora with
        {
            Name = "rslora",
            Summary = "LoRA scaled by alpha/sqrt(r), so that high ranks learn too",
            Config = """{"peft_type": "LORA", "target_modules": "all-linear", "use_rslora": true}""",
        },
        s_lora with
        {
            Name = "lora-plus",
            Summary = "LoRA whose B learns 16 times as fast as A",
            Optimizer = "lora_plus",
            RateFactor = 0.25,
        },
        s_lora with
        {
            Name = "lora-fa",
            Summary = "LoRA with A frozen at its start: half the trained parameters",
            FreezesA = true,
        },
        s_lora with
        {
            Name = "lora-fa-projected",
            Summary = "LoRA-FA with PEFT's optimiser, which projects B's gradient back through A",
            Optimizer = "lora_fa",
        },
        s_lora with
        {
            Name = "dora",
            Summary = "LoRA of the direction, and a length of its own for every output",
            Config = """{"peft_type": "LORA", "target_modules": "all-linear", "use_dora": true}""",
            DropoutField = null,
        },
        new TrainingMethod
        {
            Name = "vera",
            Summary = "one random pair shared by all modules, two trained vectors for each",
            Config = """{"peft_type": "VERA", "target_modules": "all-linear", "d_initial": 0.1, "save_projection": true}""",
            RankShares = s_rank,
            DefaultRank = 256,
            DropoutField = "vera_dropout",
            RateFactor = 10,
        },
        s_lora with
        {
            Name = "adalora",
            Summary = "LoRA that moves its ranks to where they matter",
            Config = """{"peft_type": "ADALORA", "target_modules": "all-linear", "deltaT": 1}""",
            RankShares = new Dictionary<string, double> { ["init_r"] = 1.5, ["target_r"] = 1 },
            StepShares = new Dictionary<string, double> { ["tinit"] = 0.1, ["tfinal"] = 0.3, ["total_step"] = 1 },
            RateFactor = 5,
        },
        s_lora with
        {
            Name = "pissa",
            Summary = "LoRA that starts as the base weight's largest singular values",
            Config = """{"peft_type": "LORA", "target_modules": "all-linear", "init_lora_weights": "pissa"}""",
        },
        s_lora with
        {
            Name = "olora",
            Summary = "LoRA that starts as a part of the base weight's QR",
            Config = """{"peft_type": "LORA", "target_modules": "all-linear", "init_lora_weights": "olora"}""",
        },
        new TrainingMethod
        {
            Name = "ia3",
            Summary = "a trained factor for each key, value and feed-forward channel",
            Config = """
                {
                  "peft_type": "IA3",
                  "target_modules": ["k_proj", "v_proj", "qkv_proj", "c_attn", "down_proj", "mlp.c_proj"],
                  "feedforward_modules": ["down_proj", "mlp.c_proj"]
                }
                """,
            RateFactor = 10,
        },
        s_lora with
        {
            Name = "lora-drop",
            Summary = "LoRA whose least important modules share one pair, chosen by a warm-up",
            Config = """{"peft_type": "LORA", "target_modules": "all-linear", "lora_drop_config": {"threshold": 0.9}}""",
        },
        s_lora with
        {
            Name = "delta-lora",
            Summary = "LoRA whose changes also go into the base weight",
            Config = """{"peft_type": "LORA", "target_modules": "all-linear", "delta_lora_config": {"ratio": 2}}""",
            StepShares = new Dictionary<string, double> { ["delta_lora_config.warm_up_steps"] = 0.1 },
            DropoutField = null,
        },
        s_lora with
        {
            Name = "qlora",
            Summary = "LoRA over a base kept in 4 bits (NF4)",
            BaseWeights = "nf4",
        },
        new TrainingMethod
        {
            Name = "router",
            Summary = "adapters that the server has, and gates that weigh them for each token",
            Config = """{"peft_type": "ROUTED_LORA", "router_config": {"bias": true} }""",
            RoutesAdapters = true,
            RateFactor = 10,
        },
        new TrainingMethod
        {
            Name = "full",
            Summary = "every weight of the model",
            RateFactor = 0.1,
        },
    ];

    /// <summary>The method of a name.</summary>
    public static bool TryGet(string name, [NotNullWhen(true)] out TrainingMethod? method)
    {
        method = All.FirstOrDefault(candidate => string.Equals(candidate.Name, name, StringComparison.Ordinal));
        return method is not null;
    }
}
