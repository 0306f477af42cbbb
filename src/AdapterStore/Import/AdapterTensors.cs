using System.Numerics.Tensors;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Adapters;
using InferenceServer.Tensors.Safetensors;

namespace InferenceServer.AdapterStore.Import;

/// <summary>The tensors of an adapter file sorted by module; every one is known, or the file is refused naming it.</summary>
internal sealed class AdapterTensors
{
    /// <summary>Name of the file in messages.</summary>
    public const string FileName = "adapter_model.safetensors";

    private const string Prefix = "base_model.model.";

    // PEFT's names; longer endings first where one ends in another.
    private static readonly (string Suffix, TensorPart Part)[] s_common =
    [
        (".token_adapter.trainable_tokens_delta", TensorPart.TokenRows),
        (".base_layer.weight", TensorPart.BaseWeight),
        (".base_layer.bias", TensorPart.BaseBias),
    ];

    private static readonly (string Suffix, TensorPart Part)[] s_plain = [(".weight", TensorPart.Weight), (".bias", TensorPart.Bias)];

    private static readonly (string Suffix, TensorPart Part)[] s_lora =
    [
        (".lora_A.weight", TensorPart.LowRankA),
        (".lora_B.weight", TensorPart.LowRankB),
        (".lora_B.bias", TensorPart.LowRankBias),
        (".lora_magnitude_vector", TensorPart.Magnitude),
        (".lora_magnitude_vector.weight", TensorPart.Magnitude),
        (".lora_embedding_A", TensorPart.EmbeddingA),
        (".lora_embedding_B", TensorPart.EmbeddingB),
    ];

    private static readonly (string Suffix, TensorPart Part)[] s_adaLora =
        [(".lora_A", TensorPart.LowRankA), (".lora_B", TensorPart.LowRankB), (".lora_E", TensorPart.RankScale)];

    private static readonly (string Suffix, TensorPart Part)[] s_vera =
        [(".vera_lambda_b", TensorPart.VeraOutput), (".vera_lambda_d", TensorPart.VeraRank)];

    private static readonly (string Suffix, TensorPart Part)[] s_ia3 = [(".ia3_l", TensorPart.Ia3Vector)];

    private static readonly (string Suffix, TensorPart Part)[] s_routed =
    [
        (".lora_A.weight", TensorPart.LowRankA),
        (".lora_B.weight", TensorPart.LowRankB),
        (".router_gate.weight", TensorPart.GateWeight),
        (".router_gate.bias", TensorPart.GateBias),
    ];

    private readonly SafetensorsFile _file;
    private readonly Dictionary<int, ModuleTensors> _byModule = [];

    /// <summary>Sorts a file's tensors.</summary>
    /// <exception cref="AdapterFormatException">A tensor is not known, of no known module, or of a type that weights do not have.</exception>
    public AdapterTensors(SafetensorsFile file, AdapterMethod method, ModelShape model)
    {
        _file = file;
        (string, TensorPart)[] own = method switch
        {
            AdapterMethod.Lora => s_lora,
            AdapterMethod.AdaLora => s_adaLora,
            AdapterMethod.Vera => s_vera,
            AdapterMethod.Routed => s_routed,
            _ => s_ia3,
        };
        foreach (SafetensorsEntry entry in file.Entries.Values)
        {
            if (!entry.Type.IsWeight())
            {
                throw new AdapterFormatException(FileName, entry.Name, "dtype F32, F16 or BF16", entry.Type.ToString());
            }

            if (method == AdapterMethod.Vera && entry.Name is "base_model.vera_A" or "base_model.vera_B")
            {
                continue;
            }

            Add(entry, own, method, model);
        }
    }

    /// <summary>The file's tensors of a module; one without tensors when there is none.</summary>
    public ModuleTensors Of(ModuleShape module) => _byModule.GetValueOrDefault(module.Index) ?? new ModuleTensors(module);

    /// <summary>A tensor outside any module (VeRA's shared projections), or null.</summary>
    public SafetensorsEntry? Shared(string name) => _file.Entries.GetValueOrDefault(name);

    /// <summary>Reads a tensor as f32.</summary>
    /// <exception cref="AdapterFormatException">It holds NaN or infinity.</exception>
    public float[] Read(SafetensorsEntry entry)
    {
        float[] values = _file.ReadSingles(entry);
        CheckFinite(entry.Name, values);
        return values;
    }

    /// <summary>Reads part of a tensor as f32, with the same check.</summary>
    public void Read(SafetensorsEntry entry, long firstElement, Span<float> destination)
    {
        _file.ReadSingles(entry, firstElement, destination);
        CheckFinite(entry.Name, destination);
    }

    /// <summary>
    /// A tensor times a factor as a matrix. From a file that was read whole its elements stay as they are stored, so that nothing is
    /// copied; they are checked all the same.
    /// </summary>
    /// <exception cref="AdapterFormatException">It holds NaN or infinity, or the factor makes one.</exception>
    public HostMatrix ReadMatrix(SafetensorsEntry entry, int rows, int columns, float factor)
    {
        if (_file.Memory is { } memory && entry.ByteCount <= Array.MaxLength)
        {
            float largest = FloatConversion.LargestMagnitude(entry.Type, _file.Bytes(entry, 0, (int)entry.ByteCount));
            if (float.IsFinite(largest) && float.IsFinite(largest * factor))
            {
                return new HostMatrix(rows, columns, memory, entry.Offset, entry.Type, factor);
            }
        }

        float[] values = Read(entry);
        TensorPrimitives.Multiply(values, factor, values);
        CheckFinite(entry.Name, values);
        return new HostMatrix(rows, columns, values);
    }

    /// <summary>Throws when a value is NaN or infinite.</summary>
    public static void CheckFinite(string name, ReadOnlySpan<float> values)
    {
        if (!TensorPrimitives.IsFiniteAll(values))
        {
            int at = 0;
            while (float.IsFinite(values[at]))
            {
                at++;
            }

            throw new AdapterFormatException(FileName, name, "finite values", $"{values[at]} at element {at}");
        }
    }

    private void Add(SafetensorsEntry entry, (string, TensorPart)[] own, AdapterMethod method, ModelShape model)
    {
        string name = entry.Name;
        if (!name.StartsWith(Prefix, StringComparison.Ordinal))
        {
            throw new AdapterFormatException(FileName, name, $"a name that begins with {Prefix}", "an unknown tensor");
        }

        foreach ((string suffix, TensorPart part) in own.Concat(s_common).Concat(s_plain))
        {
            if (!name.EndsWith(suffix, StringComparison.Ordinal) || name.Length <= Prefix.Length + suffix.Length)
            {
                continue;
            }

            string path = name[Prefix.Length..^suffix.Length];
            if (model.Find(path) is not { } module)
            {
                continue;
            }

            if (!_byModule.TryGetValue(module.Index, out ModuleTensors? tensors))
            {
                tensors = new ModuleTensors(module);
                _byModule.Add(module.Index, tensors);
            }

            tensors.Add(part, entry);
            return;
        }

        throw new AdapterFormatException(
            FileName, name, $"a tensor of {method} on a module of the base model '{model.Name}'", "an unknown tensor");
    }
}
