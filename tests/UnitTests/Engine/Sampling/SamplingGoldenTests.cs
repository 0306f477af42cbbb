using System.Text.Json;
using InferenceServer.Engine.Sampling;
using InferenceServer.Tensors.Safetensors;
using InferenceServer.TestKit;
using Xunit;
using Xunit.Abstractions;

namespace InferenceServer.UnitTests.Engine.Sampling;

/// <summary>Distributions as transformers' logits processors make them.</summary>
public sealed class SamplingGoldenTests(ITestOutputHelper output)
{
    [GoldenFact]
    [Trait("Category", "Golden")]
    public void Distributions_equal_those_of_transformers() => GoldenCases.RunFolders(output, "fixtures/sampling*", CheckFolder);

    [Fact]
    public void Distributions_equal_those_of_transformers_in_the_copy_kept_here() =>
        CheckFolder(Path.Combine(AppContext.BaseDirectory, "Data", "sampling"));

    private void CheckFolder(string folder)
    {
        using JsonDocument description = JsonDocument.Parse(File.ReadAllText(Path.Combine(folder, "case.json")));
        JsonElement combos = description.RootElement.GetProperty("combos");
        List<string> names = [.. combos.EnumerateObject().Select(combo => combo.Name)];
        using SafetensorsFile file = SafetensorsFile.Open(Path.Combine(folder, "expected.safetensors"));
        GoldenCases.Run(output, $"{Path.GetFileName(folder)} combos", names, name => Check(file, name, Settings(combos.GetProperty(name))));
    }

    private static void Check(SafetensorsFile file, string combo, SamplingSettings settings)
    {
        SafetensorsEntry shape = file.Find("logits");
        int rows = (int)shape.Shape[0];
        int vocabulary = (int)shape.Shape[1];
        float[] logits = file.ReadSingles(shape);
        float[] expected = file.ReadSingles(file.Find($"{combo}.probs"));
        ReadOnlySpan<byte> kept = file.Bytes(file.Find($"{combo}.kept"), 0, rows * vocabulary);
        long[] ids = file.ReadInt64s(file.Find("input_ids"));
        int length = ids.Length / rows;
        Sampler sampler = new(vocabulary);
        float[] actual = new float[vocabulary];
        for (int row = 0; row < rows; row++)
        {
            int[] tokens = [.. ids.Skip(row * length).Take(length).Select(id => (int)id)];
            sampler.Distribution(settings, tokens, length, logits.AsSpan(row * vocabulary, vocabulary).ToArray(), actual);
            for (int i = 0; i < vocabulary; i++)
            {
                int place = (row * vocabulary) + i;
                Assert.True((actual[i] > 0) == (kept[place] == 1), $"row {row}, token {i}: kept {kept[place]}, probability {actual[i]}");
                Assert.True(Math.Abs(actual[i] - expected[place]) <= 1e-5f, $"row {row}, token {i}: {actual[i]} instead of {expected[place]}");
            }
        }
    }

    private static SamplingSettings Settings(JsonElement combo)
    {
        // Each combo lists its processors in the order applied; the sampler's fixed order must agree with it.
        string[] order = ["repetition_penalty", "no_repeat_ngram_size", "temperature", "top_k", "top_p", "min_p", "typical_p"];
        int last = -1;
        SamplingSettings settings = new();
        foreach (JsonElement step in combo.EnumerateArray())
        {
            string name = step[0].GetString()!;
            float value = step[1].GetSingle();
            int place = Array.IndexOf(order, name);
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
