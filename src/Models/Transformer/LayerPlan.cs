using InferenceServer.Models.Checkpoints;

namespace InferenceServer.Models.Transformer;

/// <summary>The checked modules of one decoder layer; see <see cref="DecoderLayer"/>.</summary>
internal sealed record LayerPlan(
    ModulePlan InputNorm,
    ModulePlan[] Qkv,
    CheckpointTensor? QueryNorm,
    CheckpointTensor? KeyNorm,
    ModulePlan Output,
    ModulePlan? PostAttentionNorm,
    ModulePlan FeedForwardNorm,
    ModulePlan? PostFeedForwardNorm,
    ModulePlan[] Up,
    ModulePlan Down);
