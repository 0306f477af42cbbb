using System.Globalization;
using System.Text.Json;
using System.Text.Unicode;

namespace InferenceServer.AdapterStore.Import;

/// <summary>The fields of adapter_config.json, read with typed errors; remembers which ones were asked for.</summary>
internal sealed class ConfigFields
{
    /// <summary>Name of the file in messages.</summary>
    public const string FileName = "adapter_config.json";

    private readonly Dictionary<string, JsonElement> _fields = new(StringComparer.Ordinal);
    private readonly HashSet<string> _used = new(StringComparer.Ordinal);
    private readonly AdapterLimits _limits;

    private ConfigFields(JsonElement root, AdapterLimits limits)
    {
        _limits = limits;
        foreach (JsonProperty property in root.EnumerateObject())
        {
            _fields.Add(property.Name, property.Value);
        }
    }

    /// <summary>Fields that nothing asked for yet, in the file's order.</summary>
    public IEnumerable<KeyValuePair<string, JsonElement>> Unused => _fields.Where(pair => !_used.Contains(pair.Key));

    /// <summary>Parses a config: strict JSON, one object, no repeated names, little nesting.</summary>
    public static ConfigFields Parse(ReadOnlyMemory<byte> json, AdapterLimits limits)
    {
        if (!Utf8.IsValid(json.Span))
        {
            throw new AdapterFormatException(FileName, "", "valid JSON", "text that is not UTF-8");
        }

        try
        {
            JsonDocumentOptions options = new() { MaxDepth = 16, AllowDuplicateProperties = false };
            using JsonDocument document = JsonDocument.Parse(json, options);
            if (document.RootElement.ValueKind != JsonValueKind.Object)
            {
                throw new AdapterFormatException(FileName, "", "a JSON object", $"a JSON {Kind(document.RootElement)}");
            }

            int count = document.RootElement.GetPropertyCount();
            return count <= limits.MaxConfigFields
                ? new ConfigFields(document.RootElement.Clone(), limits)
                : throw new AdapterFormatException(FileName, "", $"at most MaxConfigFields {limits.MaxConfigFields} fields", Invariant(count));
        }
        catch (JsonException error)
        {
            throw new AdapterFormatException(FileName, "", "valid JSON", AdapterFormatException.Shown(error.Message), error);
        }
        catch (InvalidOperationException error)
        {
            // A lone surrogate in a name.
            throw new AdapterFormatException(FileName, "", "valid JSON strings", AdapterFormatException.Shown(error.Message), error);
        }
    }

    /// <summary>The field's value, or null when it is absent or JSON null.</summary>
    public JsonElement? Find(string name)
    {
        _used.Add(name);
        return _fields.TryGetValue(name, out JsonElement value) && value.ValueKind != JsonValueKind.Null ? value : null;
    }

    public bool Flag(string name, bool otherwise) => Find(name) is not { } value
        ? otherwise
        : value.ValueKind switch
        {
            JsonValueKind.True => true,
            JsonValueKind.False => false,
            _ => throw Wrong(name, "true or false", value),
        };

    public string? Text(string name) => Find(name) is { } value ? TextOf(name, value) : null;

    /// <summary>A whole number from <paramref name="least"/> to <paramref name="most"/>.</summary>
    public int Whole(string name, int otherwise, int least, int most, string limitName)
    {
        if (Find(name) is not { } value)
        {
            return otherwise;
        }

        if (value.ValueKind != JsonValueKind.Number || !value.TryGetInt64(out long number) || number < least)
        {
            throw Wrong(name, $"a whole number from {least}", value);
        }

        return number <= most
            ? (int)number
            : throw new AdapterFormatException(FileName, name, $"at most {limitName} {most}", Invariant(number));
    }

    public double Number(string name, double otherwise) => Find(name) is { } value ? NumberOf(name, value) : otherwise;

    /// <summary>A finite number.</summary>
    public static double NumberOf(string name, JsonElement value) =>
        value.ValueKind == JsonValueKind.Number && value.TryGetDouble(out double number) && float.IsFinite((float)number)
            ? number
            : throw Wrong(name, "a finite number", value);

    /// <summary>A string.</summary>
    public static string TextOf(string name, JsonElement value)
    {
        if (value.ValueKind != JsonValueKind.String)
        {
            throw Wrong(name, "a string", value);
        }

        try
        {
            return value.GetString()!;
        }
        catch (InvalidOperationException error)
        {
            // A lone surrogate escape such as "\ud800".
            throw new AdapterFormatException(FileName, name, "a valid string", "an invalid Unicode escape", error);
        }
    }

    /// <summary>A list of strings, or null when the field is absent, null or empty.</summary>
    public string[]? Texts(string name)
    {
        if (Find(name) is not { } value)
        {
            return null;
        }

        if (value.ValueKind != JsonValueKind.Array)
        {
            throw Wrong(name, "a list of strings", value);
        }

        CheckLength(name, value.GetArrayLength());
        string[] texts = [.. value.EnumerateArray().Select(item =>
            item.ValueKind == JsonValueKind.String ? TextOf(name, item) : throw Wrong(name, "a list of strings", item))];
        return texts.Length == 0 ? null : texts;
    }

    /// <summary>A list of whole numbers from 0.</summary>
    public int[] Indices(string name, JsonElement value)
    {
        if (value.ValueKind != JsonValueKind.Array)
        {
            throw Wrong(name, "a list of whole numbers from 0", value);
        }

        CheckLength(name, value.GetArrayLength());
        return [.. value.EnumerateArray().Select(item =>
            item.ValueKind == JsonValueKind.Number && item.TryGetInt32(out int index) && index >= 0
                ? index
                : throw Wrong(name, "a list of whole numbers from 0", item))];
    }

    /// <summary>The members of an object, in the file's order.</summary>
    public List<KeyValuePair<string, JsonElement>> Members(string name, JsonElement value)
    {
        if (value.ValueKind != JsonValueKind.Object)
        {
            throw Wrong(name, "a JSON object", value);
        }

        CheckLength(name, value.GetPropertyCount());
        try
        {
            return [.. value.EnumerateObject().Select(property => new KeyValuePair<string, JsonElement>(property.Name, property.Value))];
        }
        catch (InvalidOperationException error)
        {
            throw new AdapterFormatException(FileName, name, "valid names", "an invalid Unicode escape", error);
        }
    }

    /// <summary>An error about a field.</summary>
    public static AdapterFormatException Wrong(string name, string expected, JsonElement found) =>
        new(FileName, name, expected, AdapterFormatException.Shown(found.GetRawText()));

    private void CheckLength(string name, int length)
    {
        if (length > _limits.MaxListLength)
        {
            throw new AdapterFormatException(FileName, name, $"at most MaxListLength {_limits.MaxListLength} entries", Invariant(length));
        }
    }

    private static string Kind(JsonElement value) => value.ValueKind.ToString().ToLowerInvariant();

    private static string Invariant(long number) => number.ToString(CultureInfo.InvariantCulture);
}
