using System.Text.Json;

namespace InferenceServer.Models.Configuration;

/// <summary>Reads fields of a JSON object with errors that name file, field, value and limit.</summary>
internal readonly struct JsonFields
{
    private readonly JsonElement _root;
    private readonly string _file;
    private readonly string _prefix;

    public JsonFields(JsonElement root, string file, string prefix = "")
    {
        _root = root;
        _file = file;
        _prefix = prefix;
    }

    public bool Has(string name) => _root.TryGetProperty(name, out JsonElement value) && value.ValueKind != JsonValueKind.Null;

    public JsonElement? Element(string name) =>
        _root.TryGetProperty(name, out JsonElement value) && value.ValueKind != JsonValueKind.Null ? value : null;

    public JsonFields? Object(string name)
    {
        if (Element(name) is not { } value)
        {
            return null;
        }

        return value.ValueKind == JsonValueKind.Object
            ? new JsonFields(value, _file, $"{_prefix}{name}.")
            : throw Error(name, $"is {value.ValueKind}, not an object");
    }

    /// <summary>A whole number from <paramref name="low"/> to <paramref name="high"/>; required without a fallback.</summary>
    public int Int(string name, int low, int high, int? fallback = null)
    {
        if (Element(name) is not { } value)
        {
            return fallback ?? throw Error(name, "is missing");
        }

        // Some configs write whole numbers as 4096.0.
        if (value.ValueKind != JsonValueKind.Number || !value.TryGetDouble(out double number) || number != Math.Floor(number))
        {
            throw Error(name, $"is {Shown(value)}, not a whole number");
        }

        return number >= low && number <= high ? (int)number : throw Error(name, $"is {Shown(value)}, outside {low} to {high}");
    }

    public int? OptionalInt(string name, int low, int high) => Has(name) ? Int(name, low, high) : null;

    public double Number(string name, double low, double high, double? fallback = null)
    {
        if (Element(name) is not { } value)
        {
            return fallback ?? throw Error(name, "is missing");
        }

        if (value.ValueKind != JsonValueKind.Number || !value.TryGetDouble(out double number))
        {
            throw Error(name, $"is {Shown(value)}, not a number");
        }

        return number >= low && number <= high ? number : throw Error(name, $"is {Shown(value)}, outside {low} to {high}");
    }

    public bool Bool(string name, bool fallback) => Element(name) switch
    {
        null => fallback,
        { ValueKind: JsonValueKind.True } => true,
        { ValueKind: JsonValueKind.False } => false,
        { } value => throw Error(name, $"is {Shown(value)}, not true or false"),
    };

    public string? Text(string name) => Element(name) switch
    {
        null => null,
        { ValueKind: JsonValueKind.String } value => ReadString(name, value),
        { } value => throw Error(name, $"is {Shown(value)}, not a string"),
    };

    /// <summary>One number or a list of them, as <c>eos_token_id</c> comes.</summary>
    public int[] Ints(string name)
    {
        if (Element(name) is not { } value)
        {
            return [];
        }

        JsonElement[] items = value.ValueKind == JsonValueKind.Array ? [.. value.EnumerateArray()] : [value];
        int[] numbers = new int[items.Length];
        for (int i = 0; i < items.Length; i++)
        {
            if (items[i].ValueKind != JsonValueKind.Number || !items[i].TryGetInt32(out numbers[i]))
            {
                throw Error(name, $"holds {Shown(items[i])}, not a whole number");
            }
        }

        return numbers;
    }

    public float[] Numbers(string name)
    {
        if (Element(name) is not { ValueKind: JsonValueKind.Array } value)
        {
            throw Error(name, "is not a list of numbers");
        }

        List<float> numbers = [];
        foreach (JsonElement item in value.EnumerateArray())
        {
            if (item.ValueKind != JsonValueKind.Number || !item.TryGetSingle(out float number) || !float.IsFinite(number))
            {
                throw Error(name, $"holds {Shown(item)}, not a finite number");
            }

            numbers.Add(number);
        }

        return [.. numbers];
    }

    public string[] Texts(string name)
    {
        if (Element(name) is not { } value)
        {
            return [];
        }

        if (value.ValueKind != JsonValueKind.Array)
        {
            throw Error(name, $"is {Shown(value)}, not a list");
        }

        List<string> texts = [];
        foreach (JsonElement item in value.EnumerateArray())
        {
            texts.Add(item.ValueKind == JsonValueKind.String ? ReadString(name, item) : throw Error(name, $"holds {Shown(item)}, not a string"));
        }

        return [.. texts];
    }

    public ModelFormatException Error(string name, string problem) => new(_file, $"{_prefix}{name} {problem}");

    private string ReadString(string name, JsonElement value)
    {
        try
        {
            return value.GetString()!;
        }
        catch (InvalidOperationException)
        {
            throw Error(name, "holds text that is not valid Unicode");
        }
    }

    private static string Shown(JsonElement value)
    {
        string raw = value.GetRawText();
        return raw.Length > 60 ? raw[..60] + "…" : raw;
    }
}
