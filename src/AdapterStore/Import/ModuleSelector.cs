using System.Text.Json;
using InferenceServer.Tensors;

namespace InferenceServer.AdapterStore.Import;

/// <summary>Which modules a config targets: target_modules, exclude_modules, layers_to_transform and layers_pattern, by PEFT's rules.</summary>
internal sealed class ModuleSelector
{
    private const string Targets = "target_modules";
    private const string Excludes = "exclude_modules";

    private readonly ConfigPatterns _patterns;
    private readonly string? _targetPattern;
    private readonly HashSet<string>? _targetNames;
    private readonly string? _excludePattern;
    private readonly HashSet<string>? _excludeNames;
    private readonly HashSet<int>? _layers;
    private readonly string[]? _layersPatterns;

    public ModuleSelector(ConfigFields fields, ConfigPatterns patterns)
    {
        _patterns = patterns;
        (_targetPattern, _targetNames) = PatternOrNames(fields, Targets);
        (_excludePattern, _excludeNames) = PatternOrNames(fields, Excludes);
        if (fields.Find("layers_to_transform") is { } layers)
        {
            int[] numbers = layers.ValueKind == JsonValueKind.Number ? [OneLayer(layers)] : fields.Indices("layers_to_transform", layers);
            _layers = numbers.Length == 0 ? null : [.. numbers];
        }

        if (fields.Find("layers_pattern") is { } pattern)
        {
            _layersPatterns = pattern.ValueKind == JsonValueKind.String ? [fields.Text("layers_pattern")!] : fields.Texts("layers_pattern");
            _layersPatterns = _layersPatterns?.Where(text => text.Length > 0).ToArray() is { Length: > 0 } some ? some : null;
        }
    }

    /// <summary>Whether the config names any target at all.</summary>
    public bool HasTargets => _targetPattern is not null || _targetNames is not null;

    /// <summary>Whether a module of a kind that can be adapted is targeted.</summary>
    public bool Matches(ModuleShape module, ModelShape model)
    {
        string path = module.Path;
        if (module.Kind == ModuleKind.Norm || IsNamed(path, Excludes, _excludePattern, _excludeNames))
        {
            return false;
        }

        if (_targetPattern == "all-linear")
        {
            return module.Kind is ModuleKind.Linear or ModuleKind.Conv1D && path != model.OutputHeadPath;
        }

        if (!IsNamed(path, Targets, _targetPattern, _targetNames))
        {
            return false;
        }

        // PEFT asks for the layer only when a list's entry matched as a suffix.
        bool bySuffix = _targetNames is not null && !_targetNames.Contains(path);
        return !bySuffix || _layers is null || _layers.Contains(LayerOf(path));
    }

    /// <summary>Whether a path equals one of the names or ends in <c>.name</c>.</summary>
    public static bool EndsInName(string path, HashSet<string> names)
    {
        HashSet<string>.AlternateLookup<ReadOnlySpan<char>> lookup = names.GetAlternateLookup<ReadOnlySpan<char>>();
        if (lookup.Contains(path))
        {
            return true;
        }

        for (int dot = path.IndexOf('.', StringComparison.Ordinal); dot >= 0; dot = path.IndexOf('.', dot + 1))
        {
            if (lookup.Contains(path.AsSpan(dot + 1)))
            {
                return true;
            }
        }

        return false;
    }

    private int LayerOf(string path)
    {
        if (_layersPatterns is null)
        {
            return _patterns.LayerNumber("layers_pattern", "[^.]*", path);
        }

        foreach (string pattern in _layersPatterns)
        {
            int layer = _patterns.LayerNumber("layers_pattern", pattern, path);
            if (layer >= 0)
            {
                return layer;
            }
        }

        return -1;
    }

    private bool IsNamed(string path, string field, string? pattern, HashSet<string>? names) =>
        pattern is not null ? _patterns.IsFullMatch(field, pattern, path) : names is not null && EndsInName(path, names);

    private static (string? Pattern, HashSet<string>? Names) PatternOrNames(ConfigFields fields, string field)
    {
        if (fields.Find(field) is not { } value)
        {
            return (null, null);
        }

        if (value.ValueKind == JsonValueKind.String)
        {
            string text = fields.Text(field)!;
            return (text.Length == 0 ? null : text, null);
        }

        return (null, fields.Texts(field) is { } names ? new HashSet<string>(names, StringComparer.Ordinal) : null);
    }

    private static int OneLayer(JsonElement value) =>
        value.TryGetInt32(out int layer) && layer >= 0 ? layer : throw ConfigFields.Wrong("layers_to_transform", "whole numbers from 0", value);
}
