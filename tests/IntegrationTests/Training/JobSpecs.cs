using System.Text;
using InferenceServer.Protocol.V1;

namespace InferenceServer.IntegrationTests.Training;

/// <summary>Small jobs and the data that they train on.</summary>
internal static class JobSpecs
{
    public const string Lora =
        """{"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 4, "lora_alpha": 8, "lora_dropout": 0.1, "target_modules": ["q_proj", "v_proj", "down_proj"]}""";

    /// <summary>A LoRA with dropout, a held-out set and checkpoints: whatever could differ after an interruption does so visibly.</summary>
    public static TrainingSpec Plain(string adapter, int steps = 30, int checkpointEvery = 5) => new()
    {
        Adapter = adapter,
        AdapterConfig = Lora,
        Optimizer = new OptimizerSettings { LearningRate = 5e-3, WarmUpSteps = 2 },
        Data = new DataSettings { MaxSampleTokens = 64, HeldOutShare = 0.2, Seed = 3 },
        Run = new RunSettings { Steps = steps, MaxBatchTokens = 128, MicroBatches = 2, CheckpointEvery = checkpointEvery, Seed = 7 },
    };

    /// <summary>Lines of prompt and completion.</summary>
    public static Stream Data(int samples = 40, string suffix = "!")
    {
        StringBuilder lines = new();
        for (int i = 0; i < samples; i++)
        {
            lines.Append($$"""{"prompt": "say {{i % 10}}{{(char)('a' + (i % 7))}}:", "completion": " {{i * 37 % 100}}{{suffix}}"}""").Append('\n');
        }

        return Bytes(lines.ToString());
    }

    public static Stream Bytes(string text) => new MemoryStream(Encoding.UTF8.GetBytes(text));
}
