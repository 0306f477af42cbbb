using System.Text.Json;
using System.Text.Json.Nodes;
using InferenceServer.AdapterStore.Import;
using InferenceServer.Tensors.Safetensors;
using InferenceServer.Training.Methods;

namespace InferenceServer.Training.Export;

/// <summary>
/// Writes a trained adapter as PEFT's <c>save_pretrained</c> does: adapter_config.json and adapter_model.safetensors. AdaLoRA's tensors are
/// cut to the kept components; What started inside the base or changed it becomes a plain LoRA of twice the rank over the
/// original base: PiSSA and OLoRA <c>A' = [A; A0], B' = [B, -B0]</c>, Delta-LoRA <c>A' = [A; A_K], B' = [(1 + lambda) B, -lambda B_K]</c>.
/// LoRA-drop's shared pair is written for each module that has it. A router is written in the server's own format, which PEFT refuses
/// (docs/ROUTED_ADAPTERS.md).
/// </summary>
public static class PeftExporter
{
    private static readonly JsonSerializerOptions s_indented = new() { WriteIndented = true };

    /// <summary>Writes both files into a folder, which is made when it is missing.</summary>
    /// <exception cref="InvalidOperationException">The trainer trains every weight, which is no adapter.</exception>
    public static void Write(Trainer trainer, string folder)
    {
        ArgumentNullException.ThrowIfNull(trainer);
        AdapterRecipe recipe = trainer.Recipe ?? throw new InvalidOperationException("full fine-tuning has no adapter to export");
        JsonObject config = recipe.CopyJson();
        config["inference_mode"] = true;
        config.Remove(DeltaLoraConfig.Field);
        config.Remove(LoraDropConfig.Field);
        if (recipe.StartsFromBase || recipe.DeltaLora is not null)
        {
            DoubleRanks(config);
        }

        if (trainer.KeptComponents is { } kept)
        {
            JsonObject pattern = [];
            foreach ((string name, bool[] mask) in kept)
            {
                pattern[name] = new JsonArray([.. mask.Select(value => JsonValue.Create(value))]);
            }

            config["rank_pattern"] = pattern;
        }

        if (config[RouterConfig.Field] is JsonObject router)
        {
            router["block_ranks"] = new JsonObject(trainer.Modules.OfType<RouterMethod>().Select(module => KeyValuePair.Create<string, JsonNode?>(
                module.Path, new JsonArray([.. module.BlockRanks.Select(rank => JsonValue.Create(rank))]))));
        }

        Directory.CreateDirectory(folder);
        using (FileStream stream = File.Create(Path.Combine(folder, PeftImporter.WeightsFileName)))
        {
            SafetensorsWriter.Write(stream, Tensors(trainer), new Dictionary<string, string> { ["format"] = "pt" });
        }

        File.WriteAllText(Path.Combine(folder, PeftImporter.ConfigFileName), config.ToJsonString(s_indented));
    }

    private static List<SafetensorsWriter.Tensor> Tensors(Trainer trainer)
    {
        List<SafetensorsWriter.Tensor> tensors = [];
        foreach (ModuleMethod module in trainer.Modules)
        {
            switch (module)
            {
                case ResidualLoraMethod residual:
                    AddDoubled(trainer, residual.A, residual.B, 1f, residual.Start.A, residual.Start.B, -1f, tensors);
                    break;
                case DeltaLoraMethod delta:
                    float[] anchorA = Read(trainer, delta.AnchorA);
                    float[] anchorB = Read(trainer, delta.AnchorB);
                    AddDoubled(trainer, delta.A, delta.B, 1 + delta.Ratio, anchorA, anchorB, -delta.Ratio, tensors);
                    break;
                case SharedLoraMethod sharing:
                    AddShared(trainer, sharing, tensors);
                    break;
                case AdaLoraMethod adaLora when trainer.KeptComponents is { } kept:
                    AddKept(trainer, adaLora, kept[adaLora.Values.Name], tensors);
                    break;
                default:
                    foreach (Parameter parameter in module.Parameters)
                    {
                        Add(parameter, AdapterBuilder.Prefix, Read(trainer, parameter), tensors);
                    }

                    break;
            }
        }

        if (trainer.Projections is { } shared && trainer.Recipe!.Peft.SavesProjection)
        {
            Add(shared.A, "base_model.", Read(trainer, shared.A), tensors);
            Add(shared.B, "base_model.", Read(trainer, shared.B), tensors);
        }

        return tensors;
    }

    private static void Add(Parameter parameter, string prefix, float[] values, List<SafetensorsWriter.Tensor> tensors) =>
        tensors.Add(SafetensorsWriter.FromSingles(prefix + parameter.Name, parameter.Parts[0].Shape, values));

    private static void AddShared(Trainer trainer, SharedLoraMethod module, List<SafetensorsWriter.Tensor> tensors)
    {
        (Parameter a, Parameter b) = (module.Pair.A, module.Pair.B);
        string path = AdapterBuilder.Prefix + module.Path;
        tensors.Add(SafetensorsWriter.FromSingles(path + LoraBuilder.DownSuffix, a.Parts[0].Shape, Read(trainer, a)));
        tensors.Add(SafetensorsWriter.FromSingles(path + LoraBuilder.UpSuffix, b.Parts[0].Shape, Read(trainer, b)));
    }

    /// <summary>Writes <c>A' = [a; a2], B' = [factor b, factor2 b2]</c> under the names of a and b.</summary>
    private static void AddDoubled(
        Trainer trainer,
        Parameter a,
        Parameter b,
        float factor,
        float[] secondA,
        float[] secondB,
        float secondFactor,
        List<SafetensorsWriter.Tensor> tensors)
    {
        int rank = a.Value.Rows;
        int rows = b.Value.Rows;
        float[] firstB = Read(trainer, b);
        float[] doubled = new float[rows * rank * 2];
        for (int row = 0; row < rows; row++)
        {
            for (int r = 0; r < rank; r++)
            {
                doubled[(row * 2 * rank) + r] = factor * firstB[(row * rank) + r];
                doubled[(row * 2 * rank) + rank + r] = secondFactor * secondB[(row * rank) + r];
            }
        }

        float[] bothA = [.. Read(trainer, a), .. secondA];
        tensors.Add(SafetensorsWriter.FromSingles(AdapterBuilder.Prefix + a.Name, [2 * rank, a.Value.Columns], bothA));
        tensors.Add(SafetensorsWriter.FromSingles(AdapterBuilder.Prefix + b.Name, [rows, 2 * rank], doubled));
    }

    private static void AddKept(Trainer trainer, AdaLoraMethod module, bool[] mask, List<SafetensorsWriter.Tensor> tensors)
    {
        int[] kept = [.. Enumerable.Range(0, mask.Length).Where(r => mask[r])];
        int columns = module.A.Value.Columns;
        int rows = module.B.Value.Rows;
        float[] a = Read(trainer, module.A);
        float[] b = Read(trainer, module.B);
        float[] values = Read(trainer, module.Values);
        float[] cutA = [.. kept.SelectMany(r => a.AsSpan(r * columns, columns).ToArray())];
        float[] cutB = [.. Enumerable.Range(0, rows).SelectMany(row => kept.Select(r => b[(row * mask.Length) + r]))];
        tensors.Add(SafetensorsWriter.FromSingles(AdapterBuilder.Prefix + module.A.Name, [kept.Length, columns], cutA));
        tensors.Add(SafetensorsWriter.FromSingles(AdapterBuilder.Prefix + module.B.Name, [rows, kept.Length], cutB));
        tensors.Add(
            SafetensorsWriter.FromSingles(AdapterBuilder.Prefix + module.Values.Name, [kept.Length, 1], [.. kept.Select(r => values[r])]));
    }

    // The scale alpha / r (or alpha / sqrt(r)) must stay what it was.
    private static void DoubleRanks(JsonObject config)
    {
        double alphaFactor = (bool?)config["use_rslora"] == true ? Math.Sqrt(2) : 2;
        config["init_lora_weights"] = true;
        config["r"] = 2 * ((int?)config["r"] ?? 8);
        config["lora_alpha"] = alphaFactor * ((double?)config["lora_alpha"] ?? 8);
        if (config["rank_pattern"] is JsonObject ranks)
        {
            config["rank_pattern"] = new JsonObject(
                ranks.Select(pair => new KeyValuePair<string, JsonNode?>(pair.Key, 2 * (int)pair.Value!)));
        }

        if (config["alpha_pattern"] is JsonObject alphas)
        {
            config["alpha_pattern"] = new JsonObject(
                alphas.Select(pair => new KeyValuePair<string, JsonNode?>(pair.Key, alphaFactor * (double)pair.Value!)));
        }
    }

    private static float[] Read(Trainer trainer, Parameter parameter)
    {
        float[] values = new float[parameter.Count];
        trainer.Backend.Read(parameter.Value, values);
        return values;
    }
}
