using InferenceServer.Tensors;
using InferenceServer.Tensors.Safetensors;

namespace InferenceServer.AdapterStore.Import;

/// <summary>The tensors that an adapter file has for one module, and which of them were accounted for.</summary>
internal sealed class ModuleTensors
{
    private readonly Dictionary<TensorPart, SafetensorsEntry> _parts = [];
    private readonly HashSet<TensorPart> _used = [];

    public ModuleTensors(ModuleShape module)
    {
        Module = module;
    }

    public ModuleShape Module { get; }

    public bool Has(TensorPart part) => _parts.ContainsKey(part);

    public void Add(TensorPart part, SafetensorsEntry entry)
    {
        if (!_parts.TryAdd(part, entry))
        {
            throw new AdapterFormatException(
                AdapterTensors.FileName, entry.Name, "one tensor of its kind for the module", $"also '{_parts[part].Name}'");
        }
    }

    /// <summary>A tensor that must be there, of this shape.</summary>
    public SafetensorsEntry Require(TensorPart part, string kind, params ReadOnlySpan<long> shape) => Find(part, shape)
        ?? throw new AdapterFormatException(AdapterTensors.FileName, Module.Path, $"a tensor {kind} of shape {ShapeText(shape)}", "none");

    /// <summary>A tensor that may be there; its shape must be this one.</summary>
    public SafetensorsEntry? Find(TensorPart part, params ReadOnlySpan<long> shape)
    {
        if (!_parts.TryGetValue(part, out SafetensorsEntry? entry))
        {
            return null;
        }

        _used.Add(part);
        return shape.SequenceEqual(entry.Shape)
            ? entry
            : throw new AdapterFormatException(AdapterTensors.FileName, entry.Name, $"shape {ShapeText(shape)}", $"shape {entry.ShapeText}");
    }

    /// <summary>A tensor whose shape the caller checks.</summary>
    public SafetensorsEntry? FindAnyShape(TensorPart part)
    {
        _used.Add(part);
        return _parts.GetValueOrDefault(part);
    }

    /// <summary>Throws when a tensor was not accounted for.</summary>
    public void CheckAllUsed()
    {
        foreach ((TensorPart part, SafetensorsEntry entry) in _parts)
        {
            if (!_used.Contains(part))
            {
                throw new AdapterFormatException(
                    AdapterTensors.FileName,
                    entry.Name,
                    "tensors only for what the config targets or saves",
                    "a tensor that the config does not account for");
            }
        }
    }

    private static string ShapeText(ReadOnlySpan<long> shape) => $"[{string.Join(", ", shape.ToArray())}]";
}
