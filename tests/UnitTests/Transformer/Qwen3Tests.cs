using InferenceServer.Cpu;
using InferenceServer.Models.Transformer;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Safetensors;
using InferenceServer.TestKit.Golden;
using InferenceServer.TestKit.Models;
using Xunit;

namespace InferenceServer.UnitTests.Transformer;

/// <summary>
/// Qwen3 has no golden case (the golden data's transformers predates it), so its forward is compared with the formulas written out once
/// more in f64, straight from the architecture: RMSNorm on each query and key head before the rotation, head size of its own.
/// </summary>
public sealed class Qwen3Tests : IDisposable
{
    private const int Hidden = 24;
    private const int Heads = 4;
    private const int KvHeads = 2;
    private const int HeadSize = 10;
    private const int Intermediate = 40;
    private const int Vocabulary = 50;
    private const int Layers = 2;
    private const double Epsilon = 1e-6;
    private const double Theta = 1_000_000;

    private readonly string _folder = Directory.CreateTempSubdirectory("qwen3-").FullName;
    private readonly Dictionary<string, float[]> _tensors = new(StringComparer.Ordinal);
    private readonly Random _random = new(33);

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void The_forward_equals_the_formulas_in_f64()
    {
        WriteModel();
        int[] tokens = [3, 17, 49, 0, 8, 8, 21];
        using CpuBackend backend = new(new CpuOptions());
        using TransformerModel model = TransformerModel.Load(
            _folder, backend, new ModelLoadOptions { Weights = WeightFormat.F32, MaxBatchTokens = 16, MaxSampledRows = 16 });
        using ModelHarness harness = new(model, backend, maxLength: 16);

        float[] logits = harness.Logits([new HarnessSequence(tokens)])[0];

        Tolerance.AssertClose(Reference(tokens), logits, 2e-6, "logits");
    }

    private void WriteModel()
    {
        List<SafetensorsWriter.Tensor> tensors = [];
        void Add(string name, double scale, double offset, params long[] shape)
        {
            float[] values = new float[shape.Aggregate((a, b) => a * b)];
            for (int i = 0; i < values.Length; i++)
            {
                values[i] = (float)(offset + (scale * (_random.NextDouble() - 0.5)));
            }

            _tensors.Add(name, values);
            tensors.Add(SafetensorsWriter.FromSingles(name, shape, values));
        }

        Add("model.embed_tokens.weight", 2, 0, Vocabulary, Hidden);
        for (int layer = 0; layer < Layers; layer++)
        {
            string prefix = $"model.layers.{layer}.";
            Add(prefix + "input_layernorm.weight", 0.5, 1, Hidden);
            Add(prefix + "self_attn.q_proj.weight", 1, 0, Heads * HeadSize, Hidden);
            Add(prefix + "self_attn.k_proj.weight", 1, 0, KvHeads * HeadSize, Hidden);
            Add(prefix + "self_attn.v_proj.weight", 1, 0, KvHeads * HeadSize, Hidden);
            Add(prefix + "self_attn.q_norm.weight", 1, 1, HeadSize);
            Add(prefix + "self_attn.k_norm.weight", 1, 1, HeadSize);
            Add(prefix + "self_attn.o_proj.weight", 1, 0, Hidden, Heads * HeadSize);
            Add(prefix + "post_attention_layernorm.weight", 0.5, 1, Hidden);
            Add(prefix + "mlp.gate_proj.weight", 1, 0, Intermediate, Hidden);
            Add(prefix + "mlp.up_proj.weight", 1, 0, Intermediate, Hidden);
            Add(prefix + "mlp.down_proj.weight", 1, 0, Hidden, Intermediate);
        }

        Add("model.norm.weight", 0.5, 1, Hidden);
        Add("lm_head.weight", 1, 0, Vocabulary, Hidden);
        using (FileStream file = File.Create(Path.Combine(_folder, "model.safetensors")))
        {
            SafetensorsWriter.Write(file, tensors);
        }

        File.WriteAllText(
            Path.Combine(_folder, "config.json"),
            $$"""
            {"architectures": ["Qwen3ForCausalLM"], "hidden_size": {{Hidden}}, "num_hidden_layers": {{Layers}}, "num_attention_heads": {{Heads}},
             "num_key_value_heads": {{KvHeads}}, "head_dim": {{HeadSize}}, "intermediate_size": {{Intermediate}}, "vocab_size": {{Vocabulary}},
             "max_position_embeddings": 64, "rms_norm_eps": 1e-6, "rope_theta": 1000000, "tie_word_embeddings": false, "hidden_act": "silu"}
            """);
    }

    private float[] Reference(int[] tokens)
    {
        double[][] x = [.. tokens.Select(token => Enumerable.Range(0, Hidden).Select(i => (double)_tensors["model.embed_tokens.weight"][(token * Hidden) + i]).ToArray())];
        for (int layer = 0; layer < Layers; layer++)
        {
            string prefix = $"model.layers.{layer}.";
            double[][] normed = [.. x.Select(row => RmsNorm(row, prefix + "input_layernorm.weight"))];
            double[][] q = ProjectHeads(normed, prefix + "self_attn.q_proj.weight", prefix + "self_attn.q_norm.weight");
            double[][] k = ProjectHeads(normed, prefix + "self_attn.k_proj.weight", prefix + "self_attn.k_norm.weight");
            double[][] v = [.. normed.Select(row => Multiply(row, prefix + "self_attn.v_proj.weight"))];
            for (int t = 0; t < tokens.Length; t++)
            {
                double[] attended = new double[Heads * HeadSize];
                for (int head = 0; head < Heads; head++)
                {
                    Attend(q[t], k, v, t, head, attended);
                }

                AddTo(x[t], Multiply(attended, prefix + "self_attn.o_proj.weight"));
                double[] inner = RmsNorm(x[t], prefix + "post_attention_layernorm.weight");
                double[] gate = Multiply(inner, prefix + "mlp.gate_proj.weight");
                double[] up = Multiply(inner, prefix + "mlp.up_proj.weight");
                AddTo(x[t], Multiply([.. gate.Zip(up, (g, u) => g / (1 + Math.Exp(-g)) * u)], prefix + "mlp.down_proj.weight"));
            }
        }

        return [.. x.SelectMany(row => Multiply(RmsNorm(row, "model.norm.weight"), "lm_head.weight")).Select(value => (float)value)];
    }

    private static void Attend(double[] q, double[][] keys, double[][] values, int t, int head, double[] attended)
    {
        int kvFirst = head / (Heads / KvHeads) * HeadSize;
        double[] weights = [.. Enumerable.Range(0, t + 1).Select(j => Math.Exp(
            Enumerable.Range(0, HeadSize).Sum(i => q[(head * HeadSize) + i] * keys[j][kvFirst + i]) / Math.Sqrt(HeadSize)))];
        for (int i = 0; i < HeadSize; i++)
        {
            attended[(head * HeadSize) + i] = Enumerable.Range(0, t + 1).Sum(j => weights[j] * values[j][kvFirst + i]) / weights.Sum();
        }
    }

    // Projection, norm of each head, rotation of the pairs (i, i + D/2).
    private double[][] ProjectHeads(double[][] rows, string projection, string norm) => [.. rows.Select((row, position) =>
    {
        double[] projected = Multiply(row, projection);
        for (int first = 0; first < projected.Length; first += HeadSize)
        {
            double[] head = RmsNorm(projected[first..(first + HeadSize)], norm);
            for (int i = 0; i < HeadSize / 2; i++)
            {
                double angle = position * Math.Pow(Theta, -2.0 * i / HeadSize);
                (double a, double b) = (head[i], head[i + (HeadSize / 2)]);
                projected[first + i] = (a * Math.Cos(angle)) - (b * Math.Sin(angle));
                projected[first + i + (HeadSize / 2)] = (b * Math.Cos(angle)) + (a * Math.Sin(angle));
            }
        }

        return projected;
    })];

    private double[] RmsNorm(double[] x, string weight)
    {
        double scale = 1 / Math.Sqrt(x.Average(value => value * value) + Epsilon);
        return [.. x.Select((value, i) => value * scale * _tensors[weight][i])];
    }

    private double[] Multiply(double[] x, string weight)
    {
        float[] w = _tensors[weight];
        return [.. Enumerable.Range(0, w.Length / x.Length).Select(row => x.Select((value, i) => value * w[(row * x.Length) + i]).Sum())];
    }

    private static void AddTo(double[] target, double[] delta)
    {
        for (int i = 0; i < target.Length; i++)
        {
            target[i] += delta[i];
        }
    }
}
