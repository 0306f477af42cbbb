using System.Text;
using InferenceServer.Demo.Language;
using InferenceServer.Training;
using InferenceServer.Training.Optimisation;

namespace InferenceServer.Demo.Making;

/// <summary>How a tenant is trained. Each has another method, so that all kinds are served side by side.</summary>
/// <param name="Name">The adapter's name, which is its style's.</param>
/// <param name="Method">For the table.</param>
/// <param name="Rank">For the table; what AdaLoRA keeps in the mean.</param>
/// <param name="Steps">Steps of its training.</param>
/// <param name="BatchTokens">Tokens of a step; a question with its answer has about twenty.</param>
/// <param name="LearningRate">Largest rate.</param>
/// <param name="Config">adapter_config.json to train by, in PEFT's names.</param>
public sealed record TenantPlan(string Name, string Method, int Rank, int Steps, int BatchTokens, double LearningRate, string Config)
{
    private const string AllLinear = "\"target_modules\": [\"q_proj\", \"k_proj\", \"v_proj\", \"o_proj\", \"gate_proj\", \"up_proj\", \"down_proj\"]";

    private const int AdaLoraSteps = 2200;

    public static IReadOnlyList<TenantPlan> All { get; } =
    [
        Plan("brief", "LoRA", 4, 1000, 1024, 3e-3, "\"peft_type\": \"LORA\", \"r\": 4, \"lora_alpha\": 16"),
        Plan("words", "rsLoRA", 16, 2000, 1024, 2e-3, "\"peft_type\": \"LORA\", \"r\": 16, \"lora_alpha\": 16, \"use_rslora\": true"),
        Plan("german", "DoRA", 8, 500, 512, 2e-3, "\"peft_type\": \"LORA\", \"r\": 8, \"lora_alpha\": 16, \"use_dora\": true"),
        Plan(
            "roman",
            "AdaLoRA",
            6,
            AdaLoraSteps,
            1024,
            4e-3,
            "\"peft_type\": \"ADALORA\", \"r\": 12, \"init_r\": 12, \"target_r\": 6, \"lora_alpha\": 24, \"tinit\": 150, \"tfinal\": 1700, "
            + FormattableString.Invariant($"\"deltaT\": 10, \"total_step\": {AdaLoraSteps}, \"orth_reg_weight\": 0.1")),
        Plan("json", "VeRA", 128, 500, 512, 2e-2, "\"peft_type\": \"VERA\", \"r\": 128, \"d_initial\": 0.1, \"save_projection\": true"),
        Plan("capitals", "PiSSA", 8, 600, 512, 1e-3, "\"peft_type\": \"LORA\", \"r\": 8, \"lora_alpha\": 8, \"init_lora_weights\": \"pissa\""),
    ];

    public AnswerStyle Style => AnswerStyle.Find(Name);

    public AdapterRecipe Recipe => AdapterRecipe.Parse(Encoding.UTF8.GetBytes(Config));

    internal TrainingOptions Options(int seed) => new()
    {
        LearningRate = LearningRate,
        WeightDecay = 0,
        MaxGradientNorm = 1,
        Schedule = ScheduleKind.Cosine,
        WarmUpSteps = 20,
        TotalSteps = Steps,
        MaxBatchTokens = BatchTokens,
        Seed = seed,
    };

    private static TenantPlan Plan(string name, string method, int rank, int steps, int batchTokens, double learningRate, string fields) => new(
        name,
        method,
        rank,
        steps,
        batchTokens,
        learningRate,
        $"{{\"base_model_name_or_path\": \"{DemoFolder.BaseName}\", {fields}, {AllLinear}}}");
}
