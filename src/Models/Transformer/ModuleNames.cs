using InferenceServer.Models.Configuration;

namespace InferenceServer.Models.Transformer;

/// <summary>What an architecture calls its modules, relative to the layer, and which projections it keeps in one tensor.</summary>
/// <param name="Root">Prefix of everything but the output head; checkpoints saved without the head lack it.</param>
/// <param name="Embedding">Token embedding, below the root.</param>
/// <param name="Positions">Learned position embedding, below the root; null for rotary ones.</param>
/// <param name="Layers">Prefix of the numbered layers, below the root.</param>
/// <param name="FinalNorm">Below the root.</param>
/// <param name="InputNorm">Before attention.</param>
/// <param name="Qkv">One name for a fused projection, or three.</param>
/// <param name="Output">The attention's output projection.</param>
/// <param name="PostAttentionNorm">On the attention's output; null for none.</param>
/// <param name="FeedForwardNorm">Before the feed-forward.</param>
/// <param name="PostFeedForwardNorm">On the feed-forward's output; null for none.</param>
/// <param name="Up">Gate and up projections: two names, or one when fused or without a gate.</param>
/// <param name="Down">The feed-forward's output projection.</param>
/// <param name="IsConv1D">Linear weights are stored <c>[in, out]</c>.</param>
public sealed record ModuleNames(
    string Root,
    string Embedding,
    string? Positions,
    string Layers,
    string FinalNorm,
    string InputNorm,
    string[] Qkv,
    string Output,
    string? PostAttentionNorm,
    string FeedForwardNorm,
    string? PostFeedForwardNorm,
    string[] Up,
    string Down,
    bool IsConv1D)
{
    /// <summary>The output head's path in every architecture.</summary>
    public const string OutputHead = "lm_head";

    private static readonly ModuleNames s_llama = new(
        "model.",
        "embed_tokens",
        null,
        "layers",
        "norm",
        "input_layernorm",
        ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
        "self_attn.o_proj",
        null,
        "post_attention_layernorm",
        null,
        ["mlp.gate_proj", "mlp.up_proj"],
        "mlp.down_proj",
        false);

    /// <summary>The names of a supported architecture.</summary>
    public static ModuleNames Of(ModelConfig config) => config.Architecture switch
    {
        "Gemma2ForCausalLM" => s_llama with
        {
            PostAttentionNorm = "post_attention_layernorm",
            FeedForwardNorm = "pre_feedforward_layernorm",
            PostFeedForwardNorm = "post_feedforward_layernorm",
        },
        "Phi3ForCausalLM" => s_llama with { Qkv = ["self_attn.qkv_proj"], Up = ["mlp.gate_up_proj"] },
        "GPT2LMHeadModel" => new ModuleNames(
            "transformer.", "wte", "wpe", "h", "ln_f", "ln_1", ["attn.c_attn"], "attn.c_proj", null, "ln_2", null, ["mlp.c_fc"], "mlp.c_proj", true),
        _ => s_llama,
    };
}
