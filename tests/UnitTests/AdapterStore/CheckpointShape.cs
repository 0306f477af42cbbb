using InferenceServer.Tensors;
using InferenceServer.Tensors.Safetensors;

namespace InferenceServer.UnitTests.AdapterStore;

/// <summary>A <see cref="ModelShape"/> over the safetensors files of a small base model, made from tensor names alone.</summary>
internal sealed class CheckpointShape : IDisposable
{
    private readonly List<SafetensorsFile> _files;
    private readonly Dictionary<string, (SafetensorsFile File, SafetensorsEntry Entry)> _tensors = new(StringComparer.Ordinal);

    public CheckpointShape(string folder)
    {
        _files = [.. Directory.GetFiles(folder, "model*.safetensors").Order(StringComparer.Ordinal).Select(SafetensorsFile.Open)];
        foreach (SafetensorsFile file in _files)
        {
            foreach (SafetensorsEntry entry in file.Entries.Values)
            {
                _tensors.Add(entry.Name, (file, entry));
            }
        }

        List<ModuleShape> modules = [];
        string embedding = "";
        foreach (string name in _tensors.Keys.Where(name => name.EndsWith(".weight", StringComparison.Ordinal)).Order(StringComparer.Ordinal))
        {
            string path = name[..^".weight".Length];
            long[] shape = _tensors[name].Entry.Shape;
            bool hasBias = _tensors.ContainsKey(path + ".bias");
            string last = path[(path.LastIndexOf('.') + 1)..];
            embedding = last is "embed_tokens" or "wte" ? path : embedding;
            ModuleShape module = last switch
            {
                "embed_tokens" or "wte" or "wpe" => new(modules.Count, path, ModuleKind.Embedding, (int)shape[1], (int)shape[0], false, -1),
                "c_attn" or "c_fc" or "c_proj" => new(modules.Count, path, ModuleKind.Conv1D, (int)shape[1], (int)shape[0], hasBias, 0),
                _ when shape.Length == 1 => new(modules.Count, path, ModuleKind.Norm, (int)shape[0], 0, hasBias, 0),
                _ => new(modules.Count, path, ModuleKind.Linear, (int)shape[0], (int)shape[1], hasBias, 0),
            };
            modules.Add(module);
        }

        bool isTied = !_tensors.ContainsKey("lm_head.weight");
        if (isTied)
        {
            (SafetensorsFile File, SafetensorsEntry Entry) table = _tensors[embedding + ".weight"];
            modules.Add(new(modules.Count, "lm_head", ModuleKind.Linear, (int)table.Entry.Shape[0], (int)table.Entry.Shape[1], false, -1));
            _tensors.Add("lm_head.weight", table);
        }

        Shape = new ModelShape(Path.GetFileName(folder), 2, isTied, "lm_head", modules, ReadRows, ReadBias);
    }

    public ModelShape Shape { get; }

    /// <summary>The whole weight in logical order: <c>[out, in]</c>, for an embedding <c>[vocabulary, hidden]</c>.</summary>
    public float[] ReadWeight(ModuleShape module)
    {
        (SafetensorsFile file, SafetensorsEntry entry) = _tensors[module.Path + ".weight"];
        float[] stored = file.ReadSingles(entry);
        if (module.Kind != ModuleKind.Conv1D)
        {
            return stored;
        }

        float[] logical = new float[stored.Length];
        for (int o = 0; o < module.OutFeatures; o++)
        {
            for (int i = 0; i < module.InFeatures; i++)
            {
                logical[(o * module.InFeatures) + i] = stored[(i * module.OutFeatures) + o];
            }
        }

        return logical;
    }

    public float[]? ReadBias(ModuleShape module) =>
        module.HasBias ? _tensors[module.Path + ".bias"].File.ReadSingles(_tensors[module.Path + ".bias"].Entry) : null;

    public void Dispose() => _files.ForEach(file => file.Dispose());

    private void ReadRows(ModuleShape module, int firstRow, Memory<float> destination)
    {
        int columns = module.Kind == ModuleKind.Embedding ? module.OutFeatures : module.InFeatures;
        ReadWeight(module).AsSpan(firstRow * columns, destination.Length).CopyTo(destination.Span);
    }
}
