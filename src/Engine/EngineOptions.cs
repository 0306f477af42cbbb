using System.ComponentModel.DataAnnotations;

namespace InferenceServer.Engine;

/// <summary>Memory and reporting of the engine.</summary>
public sealed class EngineOptions
{
    public const string SectionName = "Engine";

    /// <summary>
    /// Device bytes for the KV cache. Default 512 MiB: at 32 layers with 8 key/value heads of 128 elements that is 2048 tokens in f32; a
    /// small model has room for dozens of conversations.
    /// </summary>
    [Range(1, long.MaxValue)]
    public long KvCacheBytes { get; set; } = 512L << 20;

    /// <summary>KV blocks in place of <see cref="KvCacheBytes"/>; null to take as many as fit into the bytes.</summary>
    [Range(1, int.MaxValue)]
    public int? KvBlocks { get; set; }

    /// <summary>Adapters that metrics name; all later ones are counted as "_other". Default 64: every name is a few time series for good.</summary>
    [Range(0, 10_000)]
    public int MaxReportedAdapters { get; set; } = 64;
}
