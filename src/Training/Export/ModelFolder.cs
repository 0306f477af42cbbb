using System.Text.Json;
using System.Text.Json.Nodes;

namespace InferenceServer.Training.Export;

/// <summary>The files of a Hugging Face model folder besides its weights.</summary>
internal static class ModelFolder
{
    private const string ConfigFile = "config.json";
    private const string MoreTemplatesFolder = "additional_chat_templates";

    // By name, because a folder may hold anything else beside a model.
    private static readonly string[] s_files =
    [
        "generation_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "tokenizer.model",
        "special_tokens_map.json",
        "added_tokens.json",
        "vocab.json",
        "merges.txt",
        "chat_template.jinja",
        "chat_template.json",
        "LICENSE",
        "LICENSE.txt",
        "NOTICE",
    ];

    private static readonly JsonSerializerOptions s_indented = new() { WriteIndented = true };

    /// <summary>Copies config, generation defaults, tokenizer, chat templates and licence.</summary>
    /// <param name="source">The base's folder.</param>
    /// <param name="folder">Where to; made when it is missing.</param>
    /// <param name="isSinglePrecision">Whether the weights beside them are f32 now, whatever the base's are.</param>
    /// <param name="isUntied">Whether the output head has got a weight of its own.</param>
    public static void CopyCompanions(string source, string folder, bool isSinglePrecision, bool isUntied)
    {
        Directory.CreateDirectory(folder);
        foreach (string name in s_files.Where(name => File.Exists(Path.Combine(source, name))))
        {
            File.Copy(Path.Combine(source, name), Path.Combine(folder, name), overwrite: true);
        }

        string templates = Path.Combine(source, MoreTemplatesFolder);
        if (Directory.Exists(templates))
        {
            string target = Path.Combine(folder, MoreTemplatesFolder);
            Directory.CreateDirectory(target);
            foreach (string file in Directory.GetFiles(templates, "*.jinja"))
            {
                File.Copy(file, Path.Combine(target, Path.GetFileName(file)), overwrite: true);
            }
        }

        WriteConfig(Path.Combine(source, ConfigFile), Path.Combine(folder, ConfigFile), isSinglePrecision, isUntied);
    }

    private static void WriteConfig(string source, string target, bool isSinglePrecision, bool isUntied)
    {
        JsonObject config = JsonNode.Parse(File.ReadAllBytes(source))!.AsObject();
        if (isSinglePrecision)
        {
            // Newer versions of transformers write "dtype".
            config[config.ContainsKey("dtype") ? "dtype" : "torch_dtype"] = "float32";
        }

        if (isUntied)
        {
            config["tie_word_embeddings"] = false;
        }

        File.WriteAllText(target, config.ToJsonString(s_indented));
    }
}
