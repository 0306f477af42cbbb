using System.ComponentModel.DataAnnotations;

namespace InferenceServer.Engine;

/// <summary>Memory and reporting of the engine.</summary>
public sealed class EngineOptions
{
    public const string SectionName = "Engine";

    /// <summary>What the KV cache takes of host memory where nobody says how much.</summary>
    public const long DefaultHostBytes = 512L << 20;

    /// <summary>
    /// Bytes for the KV cache. Null (the default): in host memory 512 MiB, at 32 layers with 8 key/value heads of 128 elements 2048 tokens in
    /// f32; on a device that lets KV blocks and adapters share its memory a part of <see cref="SharedBytes"/>. A number shares nothing: KV blocks have so many
    /// bytes, and adapters their budget.
    /// </summary>
    [Range(1, long.MaxValue)]
    public long? KvCacheBytes { get; set; }

    /// <summary>
    /// Bytes that KV blocks and adapters share, where the device can and <see cref="KvCacheBytes"/> does not say otherwise. Null (the default): seven
    /// tenths of what weights leave free. The rest is for merged weights, training and what operations need between their kernels.
    /// </summary>
    [Range(1, long.MaxValue)]
    public long? SharedBytes { get; set; }

    /// <summary>KV blocks in place of <see cref="KvCacheBytes"/>; null to take as many as fit into the bytes.</summary>
    [Range(1, int.MaxValue)]
    public int? KvBlocks { get; set; }

    /// <summary>Adapters that metrics name; all later ones are counted as "_other". Default 64: every name is a few time series for good.</summary>
    [Range(0, 10_000)]
    public int MaxReportedAdapters { get; set; } = 64;
}
