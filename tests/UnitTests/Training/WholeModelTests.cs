using InferenceServer.Cpu;
using InferenceServer.Cpu.Training;
using InferenceServer.Models.Transformer;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Safetensors;
using InferenceServer.TestKit;
using InferenceServer.Training;
using Xunit;
using Xunit.Abstractions;

namespace InferenceServer.UnitTests.Training;

/// <summary>
/// The gradient of every weight and of every adapter parameter, on every architecture: along its own gradient the loss of the whole model
/// must rise by the gradient's length.
/// </summary>
[Trait("Category", "Training")]
public sealed class WholeModelTests(ITestOutputHelper output)
{
    private const float Step = 1e-2f;

    /// <summary>The loss is about 5 and f32, so a difference over 1e-2 is known to about 4e-4.</summary>
    private const double Noise = 8e-4;

    [GoldenFact]
    [Trait("Category", "Golden")]
    public void Every_architecture_has_the_gradients_of_its_loss() => GoldenCases.RunFolders(output, "fixtures/bases/*", Check);

    [Fact]
    public void The_bases_at_hand_have_the_gradients_of_their_loss() =>
        GoldenCases.RunFolders(output, "fixtures/bases/*", Check, Path.Combine(AppContext.BaseDirectory, "Data", "golden"));

    [Fact]
    public void Norms_on_heads_have_the_gradients_of_their_loss()
    {
        string folder = Directory.CreateTempSubdirectory("qwen3-").FullName;
        try
        {
            WriteQwen3(folder);
            Check(folder);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private static void Check(string folder)
    {
        using CpuBackend backend = new(new CpuOptions { Products = CpuProducts.Vectors });
        using ITrainingBackend operations = CpuTraining.Create(backend);
        using TransformerModel model = TransformerModel.Load(
            folder, backend, new ModelLoadOptions { Weights = WeightFormat.F32, MaxBatchTokens = 64, MaxSampledRows = 64 });
        SupervisedBatch batch = Batch(model.Config.VocabularySize);
        TrainingOptions options = new() { MaxBatchTokens = 64, Seed = 5 };
        using (Trainer all = Trainer.ForAllWeights(model, backend, operations, options))
        {
            Assert.Equal(
                model.ParameterCount,
                all.TrainedParameters.Where(parameter => !IsPositionOrHeadNorm(parameter)).Sum(parameter => parameter.Count));
            Check(all, backend, batch);
        }

        foreach (string config in (string[])
            [
                """{"peft_type": "LORA", "r": 3, "target_modules": "all-linear", "init_lora_weights": true, "use_rslora": true}""",
                """{"peft_type": "LORA", "r": 3, "target_modules": "all-linear", "init_lora_weights": "gaussian"}""",
                """{"peft_type": "VERA", "r": 5, "target_modules": "all-linear"}""",
                """{"peft_type": "IA3", "target_modules": "all-linear", "feedforward_modules": ".*(up_proj|mlp.c_proj|o_proj)"}""",
            ])
        {
            using Trainer trainer = Trainer.ForAdapter(
                model, backend, operations, AdapterRecipe.Parse(System.Text.Encoding.UTF8.GetBytes(config)), options);
            Disturb(trainer, backend);
            Check(trainer, backend, batch);
        }
    }

    private static void Check(Trainer trainer, CpuBackend backend, SupervisedBatch batch)
    {
        trainer.ComputeGradients(batch);
        foreach (Parameter parameter in trainer.TrainedParameters)
        {
            float[] values = Read(backend, parameter.Value);
            float[] gradient = Read(backend, parameter.Gradient);
            double length = Math.Sqrt(gradient.Sum(g => (double)g * g));
            if (length < 20 * Noise)
            {
                continue;
            }

            // Two steps, so that the third derivative cancels (Richardson).
            double coarse = (LossAt(Step) - LossAt(-Step)) / (2 * Step);
            double fine = (LossAt(Step / 2) - LossAt(-Step / 2)) / Step;
            double numeric = ((4 * fine) - coarse) / 3;
            Write(values);
            Assert.True(
                Math.Abs(numeric - length) <= (0.02 * length) + Noise,
                $"{parameter.Name}: gradient of length {length:g5}, but the loss rises by {numeric:g5}");

            double LossAt(float distance)
            {
                Write([.. values.Zip(gradient, (value, g) => value + (distance * (float)(g / length)))]);
                return trainer.Evaluate(batch);
            }

            void Write(float[] changed) => backend.Write(changed, parameter.ValueBuffer);
        }
    }

    // A fresh up projection is zero, and so is the gradient of everything below it.
    private static void Disturb(Trainer trainer, CpuBackend backend)
    {
        Random random = new(9);
        foreach (Parameter parameter in trainer.TrainedParameters)
        {
            float[] values = Read(backend, parameter.Value);
            backend.Write([.. values.Select(value => value + (0.2f * (float)(random.NextDouble() - 0.5)))], parameter.ValueBuffer);
        }
    }

    // The model counts the modules that adapters may name, and these are none.
    private static bool IsPositionOrHeadNorm(Parameter parameter) =>
        parameter.Name.EndsWith("wpe.weight", StringComparison.Ordinal) || parameter.Name.EndsWith(
            "_norm.weight", StringComparison.Ordinal);

    private static SupervisedBatch Batch(int vocabulary)
    {
        Random random = new(4);
        SupervisedSequence[] sequences =
        [
            .. new[] { 1, 9, 23 }.Select(length =>
            {
                int[] tokens = [.. Enumerable.Range(0, length).Select(_ => random.Next(vocabulary))];
                return new SupervisedSequence(tokens, [.. tokens.Select((token, i) => i % 4 == 1 ? SupervisedSequence.Ignored : token)]);
            }),
        ];
        return new SupervisedBatch(sequences);
    }

    private static float[] Read(CpuBackend backend, TensorView view)
    {
        float[] values = new float[view.Rows * view.Columns];
        backend.Read(view, values);
        return values;
    }

    private static void WriteQwen3(string folder)
    {
        const int Hidden = 24;
        Random random = new(33);
        List<SafetensorsWriter.Tensor> tensors = [];
        void Add(string name, double scale, double offset, params long[] shape)
        {
            float[] values = [.. Enumerable.Range(0, (int)shape.Aggregate((a, b) => a * b)).Select(_ => (float)(offset + (scale * (random.NextDouble() - 0.5))))];
            tensors.Add(SafetensorsWriter.FromSingles(name, shape, values));
        }

        Add("model.embed_tokens.weight", 2, 0, 50, Hidden);
        for (int layer = 0; layer < 2; layer++)
        {
            string prefix = $"model.layers.{layer}.";
            Add(prefix + "input_layernorm.weight", 0.5, 1, Hidden);
            Add(prefix + "self_attn.q_proj.weight", 1, 0, 40, Hidden);
            Add(prefix + "self_attn.k_proj.weight", 1, 0, 20, Hidden);
            Add(prefix + "self_attn.v_proj.weight", 1, 0, 20, Hidden);
            Add(prefix + "self_attn.q_norm.weight", 1, 1, 10);
            Add(prefix + "self_attn.k_norm.weight", 1, 1, 10);
            Add(prefix + "self_attn.o_proj.weight", 1, 0, Hidden, 40);
            Add(prefix + "post_attention_layernorm.weight", 0.5, 1, Hidden);
            Add(prefix + "mlp.gate_proj.weight", 1, 0, 40, Hidden);
            Add(prefix + "mlp.up_proj.weight", 1, 0, 40, Hidden);
            Add(prefix + "mlp.down_proj.weight", 1, 0, Hidden, 40);
        }

        Add("model.norm.weight", 0.5, 1, Hidden);
        using (FileStream stream = File.Create(Path.Combine(folder, "model.safetensors")))
        {
            SafetensorsWriter.Write(stream, tensors);
        }

        File.WriteAllText(Path.Combine(folder, "config.json"), """
            {"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4,
             "num_key_value_heads": 2, "head_dim": 10, "intermediate_size": 40, "vocab_size": 50, "rms_norm_eps": 1e-6, "rope_theta": 1000000,
             "max_position_embeddings": 64, "tie_word_embeddings": true, "hidden_act": "silu", "attention_bias": false}
            """);
    }
}
