using System.Text.Json;
using InferenceServer.AdapterStore;
using InferenceServer.AdapterStore.Import;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Adapters;
using InferenceServer.Tensors.Safetensors;
using Xunit;

namespace InferenceServer.UnitTests.AdapterStore;

/// <summary>What an import must give for a golden adapter folder.</summary>
internal static class AdapterChecks
{
    // The golden side is f32 with another order of the sums: products of a few terms about 1 in size.
    private const float Tolerance = 5e-6f;

    /// <summary>The same adapter, or the same refusal, whether its file is mapped or was read whole.</summary>
    public static void ReadWhole(string folder)
    {
        string name = Path.GetFileName(folder);
        using CheckpointShape model = new(Path.Combine(folder, "../../../bases", Path.GetFileName(Path.GetDirectoryName(folder))!));
        PeftImporter importer = new(model.Shape);
        using StoredBytesPool pool = new();
        byte[] file = File.ReadAllBytes(Path.Combine(folder, PeftImporter.WeightsFileName));
        StoredBytes bytes = pool.Rent(file.Length);
        file.CopyTo(bytes.Slice(0, file.Length));
        if (name is "loha" or "lokr")
        {
            Assert.Throws<AdapterFormatException>(() => importer.ImportWhole(folder, bytes, name, null, CancellationToken.None));
        }
        else
        {
            AdapterWeights weights = importer.ImportWhole(folder, bytes, name, null, CancellationToken.None);
            SameBits(importer.Import(folder, name).Weights.Deltas, weights.Deltas);
            weights.Release();
        }

        Assert.Equal(0, pool.LentBytes);
    }

    /// <summary>Every part of every module has the same bits.</summary>
    public static void SameBits(IReadOnlyList<LowRankDelta?> expected, IReadOnlyList<LowRankDelta?> actual)
    {
        Assert.Equal(expected.Select(delta => delta?.A?.Values), actual.Select(delta => delta?.A?.Values));
        Assert.Equal(expected.Select(delta => delta?.B?.Values), actual.Select(delta => delta?.B?.Values));
        Assert.Equal(expected.Select(delta => delta?.Gate?.Weight.Values), actual.Select(delta => delta?.Gate?.Weight.Values));
        Assert.Equal(expected.Select(delta => delta?.OutputScale), actual.Select(delta => delta?.OutputScale));
        Assert.Equal(expected.Select(delta => delta?.InputScale), actual.Select(delta => delta?.InputScale));
        Assert.Equal(expected.Select(delta => delta?.OutputBias), actual.Select(delta => delta?.OutputBias));
        Assert.Equal(expected.Select(delta => delta?.Replacement?.Values), actual.Select(delta => delta?.Replacement?.Values));
        Assert.Equal(expected.Select(delta => delta?.ReplacedRows?.Values.Values), actual.Select(delta => delta?.ReplacedRows?.Values.Values));
    }

    /// <summary>The effective weight of every module that PEFT merged, and which modules it changed.</summary>
    public static void MergedWeights(string folder)
    {
        string name = Path.GetFileName(folder);
        using CheckpointShape model = new(Path.Combine(folder, "../../../bases", Path.GetFileName(Path.GetDirectoryName(folder))!));
        PeftImporter importer = new(model.Shape);
        if (name is "loha" or "lokr")
        {
            AdapterFormatException error = Assert.Throws<AdapterFormatException>(() => importer.Import(folder, name));
            Assert.Equal("peft_type", error.Subject);
            Assert.Equal(name.ToUpperInvariant(), error.Found);
            return;
        }

        ImportedAdapter adapter = importer.Import(folder, name);

        using SafetensorsFile expected = SafetensorsFile.Open(Path.Combine(folder, "expected.safetensors"));
        CheckChangedParameters(folder, adapter, model.Shape);
        foreach (SafetensorsEntry entry in expected.Entries.Values.Where(entry => entry.Name.StartsWith("merged_weight.", StringComparison.Ordinal)))
        {
            string parameter = entry.Name["merged_weight.".Length..];
            float[] merged = expected.ReadSingles(entry);
            int dot = parameter.LastIndexOf('.');
            ModuleShape module = model.Shape.Find(parameter[..dot])!;
            LowRankDelta delta = adapter.Weights.Deltas[module.Index]!;
            float[] actual = parameter[dot..] == ".bias" ? EffectiveBias(model, module, delta) : InFileOrder(module, EffectiveWeight(model, module, delta));
            AssertClose(parameter, merged, actual);
        }

        // A second import with the kept scales is the same, bit for bit.
        ImportedAdapter again = importer.Import(folder, name, adapter.OutputScales);
        Assert.Equal(adapter.Weights.Deltas.Select(delta => delta?.B?.Values), again.Weights.Deltas.Select(delta => delta?.B?.Values));
    }

    /// <summary>B A of every module of a combined adapter.</summary>
    public static void Deltas(string folder)
    {
        using CheckpointShape model = new(Path.Combine(folder, "../../bases/llama"));
        ImportedAdapter adapter = new PeftImporter(model.Shape).Import(folder, Path.GetFileName(folder));

        using SafetensorsFile expected = SafetensorsFile.Open(Path.Combine(folder, "expected.safetensors"));
        int compared = 0;
        foreach (SafetensorsEntry entry in expected.Entries.Values.Where(entry => entry.Name.StartsWith("delta.", StringComparison.Ordinal)))
        {
            ModuleShape module = model.Shape.Find(entry.Name["delta.".Length..])!;
            float[] product = new float[module.OutFeatures * module.InFeatures];
            AddProduct(adapter.Weights.Deltas[module.Index]!, product);
            AssertClose(entry.Name, expected.ReadSingles(entry), product);
            compared++;
        }

        Assert.True(compared > 0, "no delta tensor");
    }

    /// <summary>The projections drawn from the key equal those in the file, bit for bit.</summary>
    public static void VeraProjections(string folder)
    {
        string full = folder;
        using JsonDocument config = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(full, "adapter_config.json")));
        using SafetensorsFile file = SafetensorsFile.Open(Path.Combine(full, "adapter_model.safetensors"));
        float[] expectedA = file.ReadSingles(file.Find("base_model.vera_A"));
        float[] expectedB = file.ReadSingles(file.Find("base_model.vera_B"));

        (float[] a, float[] b) = VeraProjection.Draw(
            config.RootElement.GetProperty("projection_prng_key").GetUInt32(),
            config.RootElement.GetProperty("r").GetInt32(),
            (int)file.Find("base_model.vera_A").Shape[1],
            (int)file.Find("base_model.vera_B").Shape[0]);

        Assert.Equal(expectedA, a);
        Assert.Equal(expectedB, b);
    }

    // case.json lists every base parameter that PEFT's merge changed: the import must change exactly these modules.
    private static void CheckChangedParameters(string folder, ImportedAdapter adapter, ModelShape shape)
    {
        using JsonDocument document = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(folder, "case.json")));
        if (!document.RootElement.TryGetProperty("changed_base_parameters", out JsonElement changed))
        {
            // lora_bias on modules without a bias cannot be merged, so PEFT has nothing to say here.
            Assert.Contains(adapter.Weights.Deltas, delta => delta?.OutputBias is not null);
            return;
        }

        HashSet<string> expected = [.. changed.EnumerateArray()
            .Select(item => item.GetString()!)
            .Select(parameter => parameter[..parameter.LastIndexOf('.')])];
        HashSet<string> actual = [.. shape.Modules.Where(module => adapter.Weights.Deltas[module.Index] is not null).Select(module => module.Path)];
        Assert.Equal(expected.Order(StringComparer.Ordinal), actual.Order(StringComparer.Ordinal));
    }

    private static float[] EffectiveWeight(CheckpointShape model, ModuleShape module, LowRankDelta delta)
    {
        float[] weight = delta.Replacement?.Values ?? model.ReadWeight(module);
        if (module.Kind == ModuleKind.Norm || module.Kind == ModuleKind.Embedding)
        {
            Assert.Equal(0, delta.Rank);
            return weight;
        }

        for (int o = 0; o < module.OutFeatures; o++)
        {
            for (int i = 0; i < module.InFeatures; i++)
            {
                weight[(o * module.InFeatures) + i] *= (delta.OutputScale?[o] ?? 1) * (delta.InputScale?[i] ?? 1);
            }
        }

        AddProduct(delta, weight);
        return weight;
    }

    private static float[] EffectiveBias(CheckpointShape model, ModuleShape module, LowRankDelta delta)
    {
        float[] bias = model.ReadBias(module) ?? new float[module.OutFeatures];
        return [.. bias.Select((value, i) => value + (delta.OutputBias?[i] ?? 0))];
    }

    private static void AddProduct(LowRankDelta delta, float[] weight)
    {
        if (delta.A is not { } a || delta.B is not { } b)
        {
            return;
        }

        for (int o = 0; o < b.Rows; o++)
        {
            for (int i = 0; i < a.Columns; i++)
            {
                double sum = 0;
                for (int k = 0; k < a.Rows; k++)
                {
                    sum += (double)b.Row(o)[k] * a.Row(k)[i];
                }

                weight[(o * a.Columns) + i] += (float)sum;
            }
        }
    }

    private static float[] InFileOrder(ModuleShape module, float[] logical)
    {
        if (module.Kind != ModuleKind.Conv1D)
        {
            return logical;
        }

        float[] stored = new float[logical.Length];
        for (int o = 0; o < module.OutFeatures; o++)
        {
            for (int i = 0; i < module.InFeatures; i++)
            {
                stored[(i * module.OutFeatures) + o] = logical[(o * module.InFeatures) + i];
            }
        }

        return stored;
    }

    private static void AssertClose(string name, float[] expected, float[] actual)
    {
        Assert.Equal(expected.Length, actual.Length);
        float worst = expected.Zip(actual, (e, a) => Math.Abs(e - a)).Max();
        Assert.True(worst <= Tolerance, $"{name}: worst difference {worst}");
    }
}
