namespace InferenceServer.AdapterStore;

/// <summary>What an adapter is, as found in its validated files; plain data that survives as JSON.</summary>
public sealed record AdapterManifest
{
    /// <summary>The method.</summary>
    public required AdapterMethod Method { get; init; }

    /// <summary>Whether it is weight-decomposed (DoRA).</summary>
    public bool UsesDora { get; init; }

    /// <summary>Whether the scale is alpha / sqrt(r) (rsLoRA).</summary>
    public bool UsesRankStabilisedScale { get; init; }

    /// <summary>Rank of the config (AdaLoRA: init_r); 0 for IA3 and routed ones. Modules may differ, see <see cref="Ranks"/>.</summary>
    public int Rank { get; init; }

    /// <summary>Alpha of the config; 0 where the method has none.</summary>
    public double Alpha { get; init; }

    /// <summary>Names of the adapters that a routed one was put together from, as its maker wrote them; empty for other methods.</summary>
    public IReadOnlyList<string> RoutedAdapters { get; init; } = [];

    /// <summary>The base model's name as the trainer wrote it; information only.</summary>
    public string BaseModelName { get; init; } = "";

    /// <summary>Paths of the modules with a low-rank part or scale, in the model's order.</summary>
    public required IReadOnlyList<string> TargetModules { get; init; }

    /// <summary>Paths of the modules whose weights (or rows, or biases) are replaced.</summary>
    public required IReadOnlyList<string> ReplacedModules { get; init; }

    /// <summary>Rank of each of <see cref="TargetModules"/>, in the same order.</summary>
    public required IReadOnlyList<int> Ranks { get; init; }

    /// <summary>Element type of the file's tensors, <c>mixed</c> when they differ.</summary>
    public required string ElementType { get; init; }

    /// <summary>Numbers in the file.</summary>
    public required long Parameters { get; init; }

    /// <summary>Bytes of adapter_model.safetensors.</summary>
    public required long FileBytes { get; init; }

    /// <summary>Bytes of the run-time form in host memory.</summary>
    public required long HostBytes { get; init; }

    /// <summary>Of <see cref="HostBytes"/>, the bytes of matrices: a device that keeps BF16 takes half of these.</summary>
    public required long MatrixBytes { get; init; }

    /// <summary>Config fields that serving does not need, verbatim: name to JSON text.</summary>
    public required IReadOnlyDictionary<string, string> Extras { get; init; }

    /// <summary>Largest rank of any module.</summary>
    public int MaxRank => Ranks.Count == 0 ? 0 : Ranks.Max();
}
