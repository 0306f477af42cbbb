using System.Numerics;

namespace InferenceServer.Models.ChatTemplates.Values;

/// <summary>Python's dictionary: keeps the order of insertion; 1, 1.0 and true are one key. Not changed once a template sees it.</summary>
internal sealed class TemplateDict
{
    private static readonly object s_noneKey = new();

    private readonly List<KeyValuePair<object?, object?>> _entries = [];
    private readonly Dictionary<object, int> _places = [];

    public IReadOnlyList<KeyValuePair<object?, object?>> Entries => _entries;

    public int Count => _entries.Count;

    /// <summary>Adds an entry, or replaces the value of one, which keeps its place.</summary>
    public void Set(object? key, object? value)
    {
        object place = PlaceOf(key) ?? throw new ChatTemplateException($"unhashable type: '{PythonTypes.NameOf(key)}'");
        if (_places.TryGetValue(place, out int at))
        {
            _entries[at] = new(_entries[at].Key, value);
            return;
        }

        _places.Add(place, _entries.Count);
        _entries.Add(new(key, value));
    }

    public bool TryGet(object? key, out object? value)
    {
        object? place = PlaceOf(key);
        if (place is null || !_places.TryGetValue(place, out int at))
        {
            value = null;
            return false;
        }

        value = _entries[at].Value;
        return true;
    }

    public TemplateDict Copy()
    {
        TemplateDict copy = new();
        foreach (KeyValuePair<object?, object?> entry in _entries)
        {
            copy.Set(entry.Key, entry.Value);
        }

        return copy;
    }

    /// <summary>One object per key that Python holds equal; null when it cannot be a key. Tuples are not taken as keys.</summary>
    private static object? PlaceOf(object? key) => key switch
    {
        null => s_noneKey,
        bool flag => flag ? 1L : 0L,
        double number when number == Math.Floor(number) && Math.Abs(number) < 9e15 => (long)number,
        string or long or double or BigInteger => key,
        _ => null,
    };
}
