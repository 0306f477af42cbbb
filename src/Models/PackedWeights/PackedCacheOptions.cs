using System.ComponentModel.DataAnnotations;

namespace InferenceServer.Models.PackedWeights;

/// <summary>Where packed weights are kept between starts.</summary>
public sealed class PackedCacheOptions
{
    public const string SectionName = "PackedCache";

    /// <summary>Value of <see cref="Folder"/> that keeps none.</summary>
    public const string Off = "off";

    /// <summary>Folder of the files, for this cache alone; empty (the default) for "packed" below the data folder; "off" for no cache.</summary>
    public string Folder { get; set; } = "";

    /// <summary>
    /// Most bytes in the folder. Default 64 GiB: a handful of models or formats. What was used longest ago goes first, and a model that is
    /// larger by itself is not kept.
    /// </summary>
    [Range(0, long.MaxValue)]
    public long MaxBytes { get; set; } = 64L << 30;

    /// <summary>Bytes that a new file must leave free on the disk. Default 2 GiB: a cache must not keep adapters and checkpoints from being stored.</summary>
    [Range(0, long.MaxValue)]
    public long LeaveFreeBytes { get; set; } = 2L << 30;

    /// <summary>Smallest checkpoint that is kept, in bytes. Default 64 MiB: a smaller one is packed in a blink.</summary>
    [Range(0, long.MaxValue)]
    public long MinimumBytes { get; set; } = 64L << 20;
}
