namespace InferenceServer.Models.ChatTemplates.Values;

/// <summary>What <c>namespace()</c> gives: the only value whose attributes a template may set.</summary>
internal sealed class TemplateNamespace
{
    private readonly Dictionary<string, object?> _attributes = new(StringComparer.Ordinal);

    public void Set(string name, object? value) => _attributes[name] = value;

    public bool TryGet(string name, out object? value) => _attributes.TryGetValue(name, out value);
}
