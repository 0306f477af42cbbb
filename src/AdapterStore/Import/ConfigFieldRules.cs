using System.Text.Json;

namespace InferenceServer.AdapterStore.Import;

/// <summary>
/// What becomes of the config fields that the importer does not interpret: training-only ones are kept, ones that change the maths are
/// refused unless they are off, unknown ones are refused unless they are null, false or empty.
/// </summary>
internal static class ConfigFieldRules
{
    // Read while training only; the saved tensors already hold their effect.
    private static readonly HashSet<string> s_trainingOnly = new(StringComparer.Ordinal)
    {
        "auto_mapping", "revision", "task_type", "inference_mode", "peft_version", "fan_in_fan_out", "lora_dropout", "vera_dropout",
        "d_initial", "init_weights", "init_ia3_weights", "runtime_config", "eva_config", "megatron_core", "qalora_group_size",
        "target_r", "tinit", "tfinal", "deltaT", "beta1", "beta2", "orth_reg_weight", "total_step",
    };

    private static readonly Dictionary<string, string> s_refused = new(StringComparer.Ordinal)
    {
        ["loftq_config"] = "LoftQ changes the base weights",
        ["corda_config"] = "CorDA changes the base weights; export the adapter converted to LoRA",
        ["lora_ga_config"] = "LoRA-GA changes the base weights",
        ["alora_invocation_tokens"] = "aLoRA is not supported",
        ["arrow_config"] = "Arrow routing is not supported",
        ["layer_replication"] = "replicated layers are not supported",
        ["target_parameters"] = "adapters of bare parameters are not supported",
        ["use_qalora"] = "QA-LoRA is not supported",
        ["use_bdlora"] = "block-diagonal LoRA is not supported",
        ["velora_config"] = "VeLoRA is not supported",
        ["monteclora_config"] = "Monte-Carlo LoRA is not supported",
        ["megatron_config"] = "Megatron layers are not supported",
    };

    /// <summary>Checks every field that nobody read and returns those worth keeping, verbatim.</summary>
    public static Dictionary<string, string> CheckRest(ConfigFields fields, AdapterMethod method)
    {
        if (method is AdapterMethod.Lora or AdapterMethod.AdaLora)
        {
            CheckInitialisation(fields);
        }

        Dictionary<string, string> extras = new(StringComparer.Ordinal);
        foreach ((string name, JsonElement value) in fields.Unused)
        {
            if (!s_trainingOnly.Contains(name) && !IsOff(value) && !IsUnusedByMethod(name, method))
            {
                string why = s_refused.TryGetValue(name, out string? reason) ? reason : "this field is not known and may change the results";
                throw new AdapterFormatException(
                    ConfigFields.FileName, name, $"null, false or empty ({why})", AdapterFormatException.Shown(value.GetRawText()));
            }

            extras.Add(name, value.GetRawText());
        }

        return extras;
    }

    private static bool IsOff(JsonElement value) => value.ValueKind switch
    {
        JsonValueKind.Null or JsonValueKind.False => true,
        JsonValueKind.String => value.ValueEquals(""),
        JsonValueKind.Array => value.GetArrayLength() == 0,
        JsonValueKind.Object => value.GetPropertyCount() == 0,
        _ => false,
    };

    // AdaLoRA's config inherits LoRA's r, which its layers never read.
    private static bool IsUnusedByMethod(string name, AdapterMethod method) => method == AdapterMethod.AdaLora && name == "r";

    // PiSSA and its kin replace the base by a residual. PEFT's converted export says true here and stores a plain LoRA of twice the
    // rank; without the conversion the tensors only fit the residual base, which this server does not have. Gaussian, orthogonal and EVA
    // starts leave the base alone.
    private static void CheckInitialisation(ConfigFields fields)
    {
        const string Field = "init_lora_weights";
        if (fields.Find(Field) is not { } value || value.ValueKind is JsonValueKind.True or JsonValueKind.False)
        {
            return;
        }

        if (fields.Text(Field) is "gaussian" or "orthogonal" or "eva")
        {
            return;
        }

        throw new AdapterFormatException(
            ConfigFields.FileName,
            Field,
            "true, false, gaussian, orthogonal or eva "
                + "(other starts change the base weights; save with path_initial_model_for_weight_conversion)",
            AdapterFormatException.Shown(value.GetRawText()));
    }
}
