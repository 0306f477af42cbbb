namespace InferenceServer.Models.ChatTemplates;

/// <summary>The names that one part of a template sees: its own, then those around it.</summary>
internal sealed class Scope(Scope? outer)
{
    private Dictionary<string, object?>? _names;

    public void Set(string name, object? value)
    {
        _names ??= new(StringComparer.Ordinal);
        _names[name] = value;
    }

    public bool TryGet(string name, out object? value)
    {
        for (Scope? scope = this; scope is not null; scope = scope.Outer)
        {
            if (scope._names is not null && scope._names.TryGetValue(name, out value))
            {
                return true;
            }
        }

        value = null;
        return false;
    }

    private Scope? Outer => outer;
}
