using System.Text.Json;
using System.Text.Json.Nodes;
using InferenceServer.AdapterStore;
using InferenceServer.AdapterStore.Import;
using InferenceServer.Tensors.Adapters;

namespace InferenceServer.Training;

/// <summary>
/// What adapter to train: an adapter_config.json with PEFT's names. What the importer understands means the same here; fields that
/// training alone reads are read here, and those that it cannot honour are refused by name.
/// </summary>
public sealed class AdapterRecipe
{
    private readonly JsonObject _json;

    private AdapterRecipe(JsonObject json, IReadOnlyDictionary<string, AdapterWeights>? sources = null)
    {
        _json = json;
        Sources = sources;
        Initialisation = json["init_lora_weights"] is JsonValue value && value.TryGetValue(out string? text) ? text : "true";
        if (Initialisation is not ("true" or "gaussian" or "pissa" or "olora"))
        {
            throw Unsupported("init_lora_weights", "true, gaussian, pissa or olora", Initialisation);
        }

        Dropout = (float?)json[(string?)json["peft_type"] == "VERA" ? "vera_dropout" : "lora_dropout"] ?? 0;
        if (Dropout is not (>= 0 and < 1))
        {
            throw Unsupported("lora_dropout", "from 0 to below 1", $"{Dropout}");
        }

        if ((bool?)json["use_dora"] == true)
        {
            RefuseUnlessOff("lora_dropout");
        }

        RefuseUnlessOff("lora_bias", "trainable_token_indices", "ensure_weight_tying");
        if ((string?)json["bias"] is { } bias && bias != "none")
        {
            throw Unsupported("bias", "none (training of biases is not supported)", bias);
        }

        // The importer refuses starts that change the base; here they are only a way to begin.
        JsonObject plain = (JsonObject)json.DeepClone();
        if (plain.ContainsKey("init_lora_weights"))
        {
            plain["init_lora_weights"] = true;
        }

        // PEFT has neither of them.
        plain.Remove(DeltaLoraConfig.Field);
        plain.Remove(LoraDropConfig.Field);
        Peft = PeftConfig.Parse(JsonSerializer.SerializeToUtf8Bytes(plain), new AdapterLimits());
        if (StartsFromBase && Peft.Method != AdapterMethod.Lora)
        {
            throw Unsupported("init_lora_weights", "true with this peft_type", Initialisation);
        }

        if (Peft.Method == AdapterMethod.AdaLora)
        {
            AdaLora = AdaLoraSchedule.Read(json, Peft.Rank);
        }

        if (Peft.Router is { } router)
        {
            RefuseUnlessOff("lora_dropout");
            if (router.BlockRanks is not null)
            {
                throw Unsupported(RouterConfig.BlockRanksField, "nothing in a recipe (the adapters themselves tell)", "a table");
            }

            // The softmax over one score is 1 whatever the score, so no gradient would reach the gate.
            if (router.TopK == 1)
            {
                throw Unsupported(RouterConfig.Field + ".top_k", "2 or more in training (with 1 the gate has no gradient)", "1");
            }
        }

        if (json[DeltaLoraConfig.Field] is { } delta)
        {
            DeltaLora = DeltaLoraConfig.Read(delta.AsObject());
            RefuseBeside(DeltaLoraConfig.Field, LoraDropConfig.Field);
            RefuseUnlessOff("lora_dropout");
        }

        if (json[LoraDropConfig.Field] is { } drop)
        {
            LoraDrop = LoraDropConfig.Read(drop.AsObject());
            RefuseBeside(LoraDropConfig.Field, DeltaLoraConfig.Field);
        }
    }

    /// <summary>Share of an adapter branch's input that is dropped while training (lora_dropout, vera_dropout).</summary>
    public float Dropout { get; }

    /// <summary>Start of VeRA's d.</summary>
    public float VeraStart => (float?)_json["d_initial"] ?? 0.1f;

    /// <summary>"true", "gaussian", "pissa" or "olora".</summary>
    public string Initialisation { get; }

    /// <summary>Whether A and B start as a part of the base weight.</summary>
    public bool StartsFromBase => Initialisation is "pissa" or "olora";

    /// <summary>AdaLoRA's budget; null for other methods.</summary>
    public AdaLoraSchedule? AdaLora { get; }

    /// <summary>Delta-LoRA's numbers; null for other methods.</summary>
    public DeltaLoraConfig? DeltaLora { get; }

    /// <summary>LoRA-drop's numbers; null for other methods.</summary>
    public LoraDropConfig? LoraDrop { get; }

    /// <summary>Names of the adapters that a router is trained over; empty for other methods.</summary>
    public IReadOnlyList<string> RoutedAdapters => Peft.Router?.Adapters ?? [];

    internal PeftConfig Peft { get; }

    /// <summary>The adapters that a router is trained over, by name; null before <see cref="WithSources"/>.</summary>
    internal IReadOnlyDictionary<string, AdapterWeights>? Sources { get; }

    /// <summary>Parses a config.</summary>
    /// <exception cref="AdapterFormatException">It is not valid, or asks for what training does not do.</exception>
    public static AdapterRecipe Parse(ReadOnlyMemory<byte> json)
    {
        try
        {
            return JsonNode.Parse(json.Span) is JsonObject fields
                ? new AdapterRecipe(fields)
                : throw new AdapterFormatException(PeftImporter.ConfigFileName, "", "a JSON object", "another JSON value");
        }
        catch (Exception error) when (error is JsonException or InvalidOperationException or FormatException)
        {
            throw new AdapterFormatException(PeftImporter.ConfigFileName, "", "valid JSON with PEFT's types", error.Message, error);
        }
    }

    /// <summary>The same with the adapters that a router is trained over.</summary>
    /// <param name="sources">For each of <see cref="RoutedAdapters"/> what <see cref="PeftImporter"/> or the catalog loaded for the base.</param>
    public AdapterRecipe WithSources(IReadOnlyDictionary<string, AdapterWeights> sources)
    {
        ArgumentNullException.ThrowIfNull(sources);
        return new AdapterRecipe(CopyJson(), sources);
    }

    /// <summary>A copy of the fields, to be changed for export.</summary>
    internal JsonObject CopyJson() => (JsonObject)_json.DeepClone();

    /// <summary>LoRA-drop: the same with the modules that share a pair.</summary>
    internal AdapterRecipe WithSharedModules(IEnumerable<string> paths)
    {
        JsonObject json = CopyJson();
        json[LoraDropConfig.Field]![LoraDropConfig.SharedField] = new JsonArray([.. paths.Select(path => JsonValue.Create(path))]);
        return new AdapterRecipe(json);
    }

    /// <summary>LoRA-drop: the plain LoRA of the warm-up.</summary>
    internal AdapterRecipe WithoutLoraDrop()
    {
        JsonObject json = CopyJson();
        json.Remove(LoraDropConfig.Field);
        return new AdapterRecipe(json);
    }

    // Both methods change what a plain LoRA does and have no meaning with another one.
    private void RefuseBeside(string field, string other)
    {
        if (Peft.Method != AdapterMethod.Lora)
        {
            throw Unsupported(field, "peft_type LORA", $"{Peft.Method}");
        }

        if (StartsFromBase)
        {
            throw Unsupported("init_lora_weights", $"true or gaussian with {field}", Initialisation);
        }

        if (_json[other] is not null)
        {
            throw Unsupported(other, $"null with {field}", "both");
        }

        RefuseUnlessOff("use_dora");
    }

    private void RefuseUnlessOff(params ReadOnlySpan<string> fields)
    {
        foreach (string field in fields)
        {
            bool isOff = _json[field] switch
            {
                null => true,
                JsonArray array => array.Count == 0,
                JsonObject map => map.Count == 0,
                JsonValue value => (value.TryGetValue(out bool flag) && !flag) || (value.TryGetValue(out double number) && number == 0),
                _ => false,
            };
            if (!isOff)
            {
                throw Unsupported(field, "off (training does not support it)", _json[field]!.ToJsonString());
            }
        }
    }

    private static AdapterFormatException Unsupported(string field, string expected, string found) =>
        new(PeftImporter.ConfigFileName, field, expected, found);
}
