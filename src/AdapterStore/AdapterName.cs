using System.Buffers;

namespace InferenceServer.AdapterStore;

/// <summary>
/// Adapter names: <c>[A-Za-z0-9][A-Za-z0-9._-]{0,127}</c>, safe as a folder's name by construction, and not one of the words that
/// requests use for "no adapter".
/// </summary>
public static class AdapterName
{
    private const int MaxLength = 128;

    private const string Letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

    private static readonly SearchValues<char> s_first = SearchValues.Create(Letters);
    private static readonly SearchValues<char> s_rest = SearchValues.Create(Letters + "._-");
    private static readonly HashSet<string> s_reserved = new(StringComparer.OrdinalIgnoreCase) { "base", "none", "null" };

    /// <summary>Whether a name may be used.</summary>
    public static bool IsValid(string? name) =>
        name is { Length: > 0 and <= MaxLength }
        && s_first.Contains(name[0])
        && name.AsSpan().IndexOfAnyExcept(s_rest) < 0
        && !s_reserved.Contains(name);

    /// <summary>Throws when a name may not be used.</summary>
    /// <exception cref="AdapterFormatException">It may not.</exception>
    public static void Check(string? name)
    {
        if (!IsValid(name))
        {
            string rule = name is not null && s_reserved.Contains(name)
                ? "a name that is not reserved (base, none, null)"
                : $"1 to {MaxLength} letters, digits, '.', '_' and '-', the first a letter or digit";
            throw new AdapterFormatException("adapter name", "", rule, name is null ? "nothing" : $"'{AdapterFormatException.Shown(name)}'");
        }
    }
}
