using System.Text.Json;
using InferenceServer.Models.Configuration;

namespace InferenceServer.Models;

/// <summary>What generation_config.json says of sampling, and the model's end tokens; nulls where it is silent.</summary>
public sealed record GenerationDefaults
{
    private const string FileName = "generation_config.json";
    private const int MaxFileBytes = 1 << 20;

    /// <summary>0 (greedy) when the file says <c>do_sample: false</c>.</summary>
    public float? Temperature { get; init; }

    public int? TopK { get; init; }

    public float? TopP { get; init; }

    public float? MinP { get; init; }

    public float? TypicalP { get; init; }

    public float? RepetitionPenalty { get; init; }

    public int? NoRepeatNgramSize { get; init; }

    /// <summary>Tokens that end a generation.</summary>
    public IReadOnlyList<int> EosTokenIds { get; init; } = [];

    /// <summary>Reads the file of a model folder; config.json's end tokens serve where there is none.</summary>
    /// <exception cref="ModelFormatException">The file is broken.</exception>
    public static GenerationDefaults Read(string folder, ModelConfig config)
    {
        ArgumentNullException.ThrowIfNull(config);
        string path = Path.Combine(folder, FileName);
        if (!File.Exists(path))
        {
            return new GenerationDefaults { EosTokenIds = InVocabulary(config.EosTokenIds, config) };
        }

        long length = new FileInfo(path).Length;
        if (length > MaxFileBytes)
        {
            throw new ModelFormatException(FileName, $"{length} bytes exceed the limit {MaxFileBytes}");
        }

        try
        {
            using JsonDocument document = JsonDocument.Parse(File.ReadAllBytes(path), new JsonDocumentOptions { MaxDepth = 16 });
            return document.RootElement.ValueKind == JsonValueKind.Object
                ? Read(new JsonFields(document.RootElement, FileName), config)
                : throw new ModelFormatException(FileName, "not a JSON object");
        }
        catch (JsonException error)
        {
            throw new ModelFormatException(FileName, $"not valid JSON: {error.Message}", error);
        }
    }

    private static GenerationDefaults Read(JsonFields fields, ModelConfig config)
    {
        float? Optional(string name, double low, double high) => fields.Has(name) ? (float)fields.Number(name, low, high) : null;

        int[] eos = fields.Ints("eos_token_id");
        return new GenerationDefaults
        {
            Temperature = fields.Bool("do_sample", true) ? Optional("temperature", 0, 100) : 0f,
            TopK = fields.OptionalInt("top_k", 0, int.MaxValue),
            TopP = Optional("top_p", 1e-9, 1),
            MinP = Optional("min_p", 0, 1),
            TypicalP = Optional("typical_p", 1e-9, 1),
            RepetitionPenalty = Optional("repetition_penalty", 1e-3, 1e3),
            NoRepeatNgramSize = fields.OptionalInt("no_repeat_ngram_size", 0, 1 << 20),
            EosTokenIds = InVocabulary(eos.Length > 0 ? eos : config.EosTokenIds, config),
        };
    }

    // An end token that the model cannot produce would only confuse the checks of requests.
    private static int[] InVocabulary(int[] ids, ModelConfig config) => [.. ids.Where(id => id >= 0 && id < config.VocabularySize).Distinct()];
}
