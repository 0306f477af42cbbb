namespace InferenceServer.AdapterStore;

/// <summary>What an adapter may cost; every limit is named in the error of the adapter that exceeds it.</summary>
public sealed record AdapterLimits
{
    /// <summary>Largest rank of any module. Default 512: the largest that common trainers and peers use.</summary>
    public int MaxRank { get; init; } = 512;

    /// <summary>Largest adapter_config.json, in bytes. Default 1 MiB; real ones are about 2 KB.</summary>
    public long MaxConfigBytes { get; init; } = 1L << 20;

    /// <summary>Largest adapter_model.safetensors, in bytes. Default 4 GiB: a rank-64 adapter of a 70B model with its own lm_head.</summary>
    public long MaxBytes { get; init; } = 4L << 30;

    /// <summary>Largest run-time form in host memory (f32), in bytes. Default 16 GiB; VeRA's shared projections expand per module.</summary>
    public long MaxHostBytes { get; init; } = 16L << 30;

    /// <summary>Most tensors in a file. Default 100 000.</summary>
    public int MaxTensors { get; init; } = 100_000;

    /// <summary>Longest regular expression in a config, in characters. Default 2048.</summary>
    public int MaxPatternLength { get; init; } = 2048;

    /// <summary>Most different regular expressions in a config; plain paths do not count. Default 256.</summary>
    public int MaxPatterns { get; init; } = 256;

    /// <summary>Most entries of a list or table in a config (target modules, patterns, token indices). Default 20 000.</summary>
    public int MaxListLength { get; init; } = 20_000;

    /// <summary>Most fields of a config. Default 1000; real ones have about 45.</summary>
    public int MaxConfigFields { get; init; } = 1000;

    /// <summary>Longest time that all regular expressions of one config may take together. Default 5 s; real ones take milliseconds.</summary>
    public TimeSpan MaxPatternTime { get; init; } = TimeSpan.FromSeconds(5);
}
