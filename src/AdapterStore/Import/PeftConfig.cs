using System.Text.Json;
using InferenceServer.Tensors;

namespace InferenceServer.AdapterStore.Import;

/// <summary>An adapter_config.json, checked: everything that changes the maths is either understood or refused by name.</summary>
internal sealed class PeftConfig
{
    private readonly ConfigPatterns _patterns;
    private readonly ModuleSelector _selector;
    private readonly HashSet<string>? _modulesToSave;
    private readonly List<KeyValuePair<string, int>> _rankPattern = [];
    private readonly List<KeyValuePair<string, double>> _alphaPattern = [];
    private readonly Dictionary<string, int> _keptRanks = new(StringComparer.Ordinal);
    private readonly Dictionary<string, int[]> _tokenIndices = new(StringComparer.Ordinal);
    private readonly string? _feedforwardPattern;
    private readonly string[] _feedforwardNames = [];

    private PeftConfig(ConfigFields fields, AdapterLimits limits)
    {
        _patterns = new ConfigPatterns(limits);
        Method = MethodOf(fields);
        BaseModelName = fields.Text("base_model_name_or_path") ?? "";
        Bias = fields.Text("bias") ?? "none";
        if (Bias is not ("none" or "all" or "lora_only" or "vera_only"))
        {
            throw new AdapterFormatException(
                ConfigFields.FileName, "bias", "none, all, lora_only or vera_only", AdapterFormatException.Shown(Bias));
        }

        _selector = new ModuleSelector(fields, _patterns);
        _modulesToSave = fields.Texts("modules_to_save") is { } saved ? new HashSet<string>(saved, StringComparer.Ordinal) : null;
        switch (Method)
        {
            case AdapterMethod.Lora:
                Rank = fields.Whole("r", 8, 1, limits.MaxRank, nameof(limits.MaxRank));
                Alpha = fields.Number("lora_alpha", 8);
                UsesDora = fields.Flag("use_dora", false);
                UsesRankStabilisedScale = fields.Flag("use_rslora", false);
                HasLowRankBias = fields.Flag("lora_bias", false);
                ReadPatterns(fields, limits);
                break;
            case AdapterMethod.AdaLora:
                // The config's r is LoRA's default and means nothing here.
                Rank = fields.Whole("init_r", 12, 1, limits.MaxRank, nameof(limits.MaxRank));
                Alpha = fields.Number("lora_alpha", 8);
                ReadKeptRanks(fields);
                break;
            case AdapterMethod.Vera:
                Rank = fields.Whole("r", 256, 1, limits.MaxRank, nameof(limits.MaxRank));
                SavesProjection = fields.Flag("save_projection", true);
                ProjectionKey = fields.Whole("projection_prng_key", 0, 0, int.MaxValue, nameof(Int32));
                break;
            case AdapterMethod.Routed:
                Router = RouterConfig.Read(fields, limits);
                RefuseBesideRouter(fields);
                break;
            default:
                (_feedforwardPattern, _feedforwardNames) = Feedforward(fields);
                break;
        }

        ReadTokenIndices(fields);
        WantsTiedWeights = fields.Flag("ensure_weight_tying", false);
        Extras = ConfigFieldRules.CheckRest(fields, Method);
        if (UsesDora && HasLowRankBias)
        {
            throw new AdapterFormatException(ConfigFields.FileName, "lora_bias", "false with use_dora (PEFT has no such combination)", "true");
        }
    }

    public AdapterMethod Method { get; }

    public string BaseModelName { get; }

    public string Bias { get; }

    public int Rank { get; }

    public double Alpha { get; }

    public bool UsesDora { get; }

    public bool UsesRankStabilisedScale { get; }

    /// <summary>lora_bias: B has a bias of its own, which the scale multiplies.</summary>
    public bool HasLowRankBias { get; }

    /// <summary>VeRA: whether the shared projections are in the file.</summary>
    public bool SavesProjection { get; }

    /// <summary>VeRA: seed of the shared projections.</summary>
    public int ProjectionKey { get; }

    /// <summary>What a routed adapter was put together from; null for other methods.</summary>
    public RouterConfig? Router { get; }

    /// <summary>ensure_weight_tying: a change of the embedding also changes a tied output head.</summary>
    public bool WantsTiedWeights { get; }

    public IReadOnlyDictionary<string, string> Extras { get; }

    public bool HasTargets => _selector.HasTargets;

    /// <summary>Names in modules_to_save.</summary>
    public IEnumerable<string> NamesToSave => _modulesToSave ?? [];

    /// <summary>Parses and checks a config.</summary>
    /// <exception cref="AdapterFormatException">It is not valid or asks for what is not supported.</exception>
    public static PeftConfig Parse(ReadOnlyMemory<byte> json, AdapterLimits limits) => new(ConfigFields.Parse(json, limits), limits);

    /// <summary>Whether the method changes this module.</summary>
    public bool Targets(ModuleShape module, ModelShape model) => Router is null
        ? !IsSaved(module.Path) && _selector.Matches(module, model)
        : Router.BlockRanks?.ContainsKey(module.Path) == true;

    /// <summary>Whether modules_to_save names the module or something that contains it.</summary>
    public bool IsSaved(string path) => _modulesToSave is not null && IsInside(path, _modulesToSave);

    /// <summary>Rank of a module: the first matching rank_pattern, else r.</summary>
    public int RankOf(string path) => FirstMatch(_rankPattern, "rank_pattern", path, Rank);

    /// <summary>The factor of B A: alpha / r or alpha / sqrt(r), both after patterns.</summary>
    public double ScaleOf(string path)
    {
        int rank = RankOf(path);
        double alpha = FirstMatch(_alphaPattern, "alpha_pattern", path, Alpha);
        return alpha / (UsesRankStabilisedScale ? Math.Sqrt(rank) : rank);
    }

    /// <summary>AdaLoRA: how many components of a module were kept, -1 when the config does not say.</summary>
    public int KeptRankOf(string path) => _keptRanks.GetValueOrDefault(path + ".lora_E", -1);

    /// <summary>IA3: whether the module's input is scaled rather than its output.</summary>
    public bool IsFeedforward(string path) => _feedforwardPattern is not null
        ? _patterns.IsFullMatch("feedforward_modules", _feedforwardPattern, path)
        : _feedforwardNames.Any(name => path.EndsWith(name, StringComparison.Ordinal));

    /// <summary>trainable_token_indices of an embedding, in the order of the tensor's rows; null when it has none.</summary>
    public int[]? TokenIndicesOf(ModuleShape module)
    {
        if (_tokenIndices.TryGetValue("", out int[]? ofEmbedding) && module.Kind == ModuleKind.Embedding)
        {
            return ofEmbedding;
        }

        foreach ((string name, int[] indices) in _tokenIndices)
        {
            if (name.Length > 0 && (module.Path == name || module.Path.EndsWith("." + name, StringComparison.Ordinal)))
            {
                return indices;
            }
        }

        return null;
    }

    private static AdapterMethod MethodOf(ConfigFields fields)
    {
        string type = fields.Text("peft_type")
            ?? throw new AdapterFormatException(ConfigFields.FileName, "peft_type", "LORA, ADALORA, VERA, IA3 or ROUTED_LORA", "nothing");
        return type switch
        {
            "LORA" => AdapterMethod.Lora,
            "ADALORA" => AdapterMethod.AdaLora,
            "VERA" => AdapterMethod.Vera,
            "IA3" => AdapterMethod.Ia3,
            "ROUTED_LORA" => AdapterMethod.Routed,
            _ => throw new AdapterFormatException(
                ConfigFields.FileName,
                "peft_type",
                "LORA, ADALORA, VERA, IA3 or ROUTED_LORA (other methods are not supported)",
                AdapterFormatException.Shown(type)),
        };
    }

    // The table of block ranks says which modules; everything else would be a second, unweighed adapter beside the routed ones.
    private static void RefuseBesideRouter(ConfigFields fields)
    {
        foreach (string name in (ReadOnlySpan<string>)
            ["target_modules", "exclude_modules", "layers_to_transform", "layers_pattern", "modules_to_save", "trainable_token_indices"])
        {
            if (fields.Find(name) is { } value && (value.ValueKind != JsonValueKind.Array || value.GetArrayLength() > 0))
            {
                throw ConfigFields.Wrong(name, $"null with ROUTED_LORA ({RouterConfig.BlockRanksField} names the modules)", value);
            }
        }

        if (fields.Text("bias") is { } bias && bias != "none")
        {
            throw new AdapterFormatException(ConfigFields.FileName, "bias", "none with ROUTED_LORA", AdapterFormatException.Shown(bias));
        }
    }

    private void ReadPatterns(ConfigFields fields, AdapterLimits limits)
    {
        if (fields.Find("rank_pattern") is { } ranks)
        {
            foreach ((string key, JsonElement value) in fields.Members("rank_pattern", ranks))
            {
                if (value.ValueKind != JsonValueKind.Number || !value.TryGetInt32(out int rank) || rank < 1)
                {
                    throw ConfigFields.Wrong($"rank_pattern.{key}", "a whole number from 1", value);
                }

                if (rank > limits.MaxRank)
                {
                    throw ConfigFields.Wrong($"rank_pattern.{key}", $"at most MaxRank {limits.MaxRank}", value);
                }

                _rankPattern.Add(new(key, rank));
            }
        }

        if (fields.Find("alpha_pattern") is { } alphas)
        {
            foreach ((string key, JsonElement value) in fields.Members("alpha_pattern", alphas))
            {
                _alphaPattern.Add(new(key, ConfigFields.NumberOf($"alpha_pattern.{key}", value)));
            }
        }
    }

    private void ReadKeptRanks(ConfigFields fields)
    {
        if (fields.Find("rank_pattern") is not { } pattern)
        {
            return;
        }

        foreach ((string key, JsonElement mask) in fields.Members("rank_pattern", pattern))
        {
            if (mask.ValueKind != JsonValueKind.Array
                || mask.EnumerateArray().Any(kept => kept.ValueKind is not (JsonValueKind.True or JsonValueKind.False)))
            {
                throw ConfigFields.Wrong($"rank_pattern.{key}", "a list of true and false", mask);
            }

            _keptRanks.Add(key, mask.EnumerateArray().Count(kept => kept.ValueKind == JsonValueKind.True));
        }
    }

    private void ReadTokenIndices(ConfigFields fields)
    {
        const string Field = "trainable_token_indices";
        if (fields.Find(Field) is not { } value)
        {
            return;
        }

        // A bare list means the model's input embedding.
        List<KeyValuePair<string, JsonElement>> lists =
            value.ValueKind == JsonValueKind.Array ? [new("", value)] : fields.Members(Field, value);
        foreach ((string name, JsonElement list) in lists)
        {
            int[] indices = fields.Indices(Field, list);
            if (indices.Distinct().Count() != indices.Length)
            {
                throw new AdapterFormatException(ConfigFields.FileName, Field, "each token once", "a repeated token");
            }

            if (indices.Length > 0)
            {
                _tokenIndices.Add(name, indices);
            }
        }
    }

    private static (string? Pattern, string[] Names) Feedforward(ConfigFields fields)
    {
        if (fields.Find("feedforward_modules") is { ValueKind: JsonValueKind.String })
        {
            return (fields.Text("feedforward_modules"), []);
        }

        return (null, fields.Texts("feedforward_modules") ?? []);
    }

    // Whether a path, or one of the modules around it, has one of these names.
    private static bool IsInside(string path, HashSet<string> names)
    {
        for (int end = path.IndexOf('.', StringComparison.Ordinal); end >= 0; end = path.IndexOf('.', end + 1))
        {
            if (ModuleSelector.EndsInName(path[..end], names))
            {
                return true;
            }
        }

        return ModuleSelector.EndsInName(path, names);
    }

    private T FirstMatch<T>(List<KeyValuePair<string, T>> patterns, string field, string path, T otherwise)
    {
        foreach ((string key, T value) in patterns)
        {
            if (_patterns.IsPatternKey(field, key, path))
            {
                return value;
            }
        }

        return otherwise;
    }
}
