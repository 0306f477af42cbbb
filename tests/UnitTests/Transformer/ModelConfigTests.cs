using System.Text;
using InferenceServer.Models;
using InferenceServer.Models.Configuration;
using InferenceServer.Tensors;
using Xunit;

namespace InferenceServer.UnitTests.Transformer;

public sealed class ModelConfigTests
{
    private const string Llama = """
        "architectures": ["LlamaForCausalLM"], "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "intermediate_size": 128, "vocab_size": 100, "max_position_embeddings": 256, "rms_norm_eps": 1e-5
        """;

    [Fact]
    public void A_llama_config_is_read_with_its_defaults()
    {
        ModelConfig config = Parse($"{{{Llama}}}");

        Assert.Equal((64, 2, 4, 2, 16), (config.HiddenSize, config.LayerCount, config.HeadCount, config.KvHeadCount, config.HeadSize));
        Assert.Equal(Activation.Silu, config.Activation);
        Assert.Equal(10_000, config.RopeTheta);
        Assert.Null(config.RopeScaling);
        Assert.Null(config.TiedEmbeddings);
        Assert.All(config.Windows, window => Assert.Equal(0, window));
    }

    [Theory]
    [InlineData("""{"architectures": ["MambaForCausalLM"]}""", "MambaForCausalLM")]
    [InlineData("{}", "architectures")]
    [InlineData("[]", "not a JSON object")]
    [InlineData("""{"architectures": ["LlamaForCausalLM"]""", "not valid JSON")]
    [InlineData("""{"architectures": "LlamaForCausalLM"}""", "architectures")]
    [InlineData("""{"architectures": ["LlamaForCausalLM"], "hidden_size": "big"}""", "hidden_size is \"big\"")]
    [InlineData("""{"architectures": ["LlamaForCausalLM"], "hidden_size": -5}""", "hidden_size is -5, outside 1")]
    [InlineData("""{"architectures": ["LlamaForCausalLM"], "hidden_size": 1e300}""", "hidden_size is 1e300")]
    [InlineData("""{"architectures": ["GPT2LMHeadModel"], "n_embd": 10, "n_layer": 1, "n_head": 3, "vocab_size": 5}""", "n_embd is 10")]
    public void A_broken_config_is_refused_with_its_field_and_value(string json, string expected)
    {
        ModelFormatException error = Assert.Throws<ModelFormatException>(() => Parse(json));

        Assert.StartsWith("config.json: ", error.Message, StringComparison.Ordinal);
        Assert.Contains(expected, error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("""
        "num_key_value_heads": 3
        """, "num_key_value_heads is 3")]
    [InlineData("""
        "hidden_act": "mish"
        """, "'mish'")]
    [InlineData("""
        "rope_scaling": {"rope_type": "spiral"}
        """, "rope_scaling.rope_type is 'spiral'")]
    [InlineData("""
        "rope_scaling": {"rope_type": "linear"}
        """, "rope_scaling.factor is missing")]
    [InlineData("""
        "rope_scaling": 4
        """, "rope_scaling is Number")]
    [InlineData("""
        "quantization_config": {"quant_method": "gptq"}
        """, "quantization_config")]
    [InlineData("""
        "head_dim": 15
        """, "head_dim")]
    public void A_field_that_cannot_be_served_is_refused_by_name(string field, string expected)
    {
        ModelFormatException error = Assert.Throws<ModelFormatException>(() => Parse($"{{{Llama}, {field}}}"));

        Assert.Contains(expected, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Sliding_windows_follow_each_architectures_rule()
    {
        string body = Llama.Replace("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 4", StringComparison.Ordinal) + """, "sliding_window": 8""";
        ModelConfig As(string architecture, string more = "") => Parse($"{{{body.Replace("LlamaForCausalLM", architecture, StringComparison.Ordinal)}{more}}}");

        Assert.Equal([0, 0, 0, 0], As("LlamaForCausalLM").Windows);
        Assert.Equal([8, 8, 8, 8], As("MistralForCausalLM").Windows);
        Assert.Equal([8, 0, 8, 0], As("Gemma2ForCausalLM").Windows);
        Assert.Equal([0, 0, 0, 0], As("Qwen2ForCausalLM").Windows);
        Assert.Equal([0, 0, 8, 8], As("Qwen2ForCausalLM", """, "use_sliding_window": true, "max_window_layers": 2""").Windows);
        Assert.Equal(
            [0, 8, 8, 0],
            As("Gemma2ForCausalLM", """, "layer_types": ["full_attention", "sliding_attention", "sliding_attention", "full_attention"]""").Windows);
    }

    [Fact]
    public void A_dynamic_rope_leaves_the_trained_length_alone_and_stretches_beyond_it()
    {
        ModelConfig plain = Parse($"{{{Llama}}}");
        ModelConfig dynamic = Parse($"{{{Llama}, \"rope_scaling\": {{\"type\": \"dynamic\", \"factor\": 2.0}}}}");

        Assert.Equal(RopeTableBuilder.Build(plain, 256).Cos, RopeTableBuilder.Build(dynamic, 256).Cos);

        // NTK: theta' = theta * ((2 * 512/256) - 1)^(16/14); the lowest frequency is theta'^(-14/16) = theta^(-14/16) / 3.
        float[] stretched = RopeTableBuilder.Build(dynamic, 512).Cos;
        double frequency = Math.Pow(10_000, -14.0 / 16) / 3;
        Assert.Equal(Math.Cos(511 * frequency), stretched[(511 * 8) + 7], 5);
    }

    private static ModelConfig Parse(string json) => ModelConfigReader.Parse(Encoding.UTF8.GetBytes(json), "config.json");
}
