using System.Text.Json;
using InferenceServer.Engine.Sampling;
using InferenceServer.Tensors.Safetensors;
using InferenceServer.TestKit.ReferenceMaths;
using Xunit;

namespace InferenceServer.TestKit.Sampling;

/// <summary>A folder of golden data about sampling: logits, the tokens before them, and distributions for combinations of settings.</summary>
public sealed class SamplingCase : IDisposable
{
    // Each combination lists its processors in the order applied; the sampler's fixed order must agree with it.
    private static readonly string[] s_order =
        ["repetition_penalty", "no_repeat_ngram_size", "temperature", "top_k", "top_p", "min_p", "typical_p"];

    private readonly SafetensorsFile _file;
    private readonly long[] _ids;

    public SamplingCase(string folder)
    {
        using JsonDocument description = JsonDocument.Parse(File.ReadAllText(Path.Combine(folder, "case.json")));
        Combinations = description.RootElement.GetProperty("combos").EnumerateObject().ToDictionary(
            combo => combo.Name, combo => SettingsOf(combo.Value), StringComparer.Ordinal);
        _file = SafetensorsFile.Open(Path.Combine(folder, "expected.safetensors"));
        SafetensorsEntry shape = _file.Find("logits");
        Logits = new HostTensor((int)shape.Shape[0], (int)shape.Shape[1]);
        _file.ReadSingles(shape).CopyTo(Logits.Values, 0);
        _ids = _file.ReadInt64s(_file.Find("input_ids"));
    }

    /// <summary>Settings by the combination's name.</summary>
    public IReadOnlyDictionary<string, SamplingSettings> Combinations { get; }

    public HostTensor Logits { get; }

    /// <summary>The tokens before a row, all of them the prompt's.</summary>
    public int[] TokensOf(int row)
    {
        int length = _ids.Length / Logits.Rows;
        return [.. _ids.Skip(row * length).Take(length).Select(id => (int)id)];
    }

    /// <summary>Probabilities of all rows.</summary>
    public float[] Probabilities(string combination) => _file.ReadSingles(_file.Find($"{combination}.probs"));

    /// <summary>Whether a token of a row is not filtered out.</summary>
    public bool IsKept(string combination, int row, int token)
    {
        int place = (row * Logits.Columns) + token;
        return _file.Bytes(_file.Find($"{combination}.kept"), 0, Logits.Values.Length)[place] == 1;
    }

    public void Dispose() => _file.Dispose();

    private static SamplingSettings SettingsOf(JsonElement combination)
    {
        int last = -1;
        SamplingSettings settings = new();
        foreach (JsonElement step in combination.EnumerateArray())
        {
            string name = step[0].GetString()!;
            float value = step[1].GetSingle();
            int place = Array.IndexOf(s_order, name);
            Assert.True(place > last, $"{name} is unknown, or comes later here than in the sampler");
            last = place;
            settings = name switch
            {
                "repetition_penalty" => settings with { RepetitionPenalty = value },
                "no_repeat_ngram_size" => settings with { NoRepeatNgramSize = (int)value },
                "temperature" => settings with { Temperature = value },
                "top_k" => settings with { TopK = (int)value },
                "top_p" => settings with { TopP = value },
                "min_p" => settings with { MinP = value },
                _ => settings with { TypicalP = value },
            };
        }

        return settings;
    }
}
