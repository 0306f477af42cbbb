using System.Text.Json;

namespace InferenceServer.Models.Tokenization.Loading;

/// <summary>A value of a JSON file together with its place, so that every complaint about it can say where it stands.</summary>
internal readonly struct JsonField
{
    private readonly JsonElement _value;

    public JsonField(string file, string path, JsonElement value)
    {
        File = file;
        Path = path;
        _value = value;
    }

    public string File { get; }

    public string Path { get; }

    /// <summary>The field is absent, or null.</summary>
    public bool IsNull => _value.ValueKind is JsonValueKind.Undefined or JsonValueKind.Null;

    public bool IsString => _value.ValueKind == JsonValueKind.String;

    public bool IsObject => _value.ValueKind == JsonValueKind.Object;

    /// <summary>A member of this object; one that is not there is a null field.</summary>
    public JsonField this[string name]
    {
        get
        {
            if (!IsObject)
            {
                throw Error($"expected an object, found {Kind}");
            }

            return new JsonField(File, $"{Path}.{name}", _value.TryGetProperty(name, out JsonElement member) ? member : default);
        }
    }

    private string Kind => _value.ValueKind == JsonValueKind.Undefined ? "nothing" : _value.ValueKind.ToString();

    public string AsString()
    {
        if (!IsString)
        {
            throw Error($"expected a string, found {Kind}");
        }

        try
        {
            return _value.GetString()!;
        }
        catch (InvalidOperationException error)
        {
            // Escaped surrogates without their other half.
            throw new TokenizerFormatException(File, Path, "the string is not valid Unicode", error);
        }
    }

    /// <summary>An id, or another number that counts something.</summary>
    public int AsCount()
    {
        return _value.ValueKind == JsonValueKind.Number && _value.TryGetInt32(out int number) && number >= 0
            ? number
            : throw Error($"expected a number of 0..{int.MaxValue}, found {(_value.ValueKind == JsonValueKind.Number ? _value.GetRawText() : Kind)}");
    }

    public bool AsBool(bool absent)
    {
        return AsOptionalBool() ?? absent;
    }

    public bool? AsOptionalBool()
    {
        return _value.ValueKind switch
        {
            JsonValueKind.True => true,
            JsonValueKind.False => false,
            JsonValueKind.Undefined or JsonValueKind.Null => null,
            _ => throw Error($"expected true or false, found {Kind}"),
        };
    }

    /// <summary>The items of this array.</summary>
    public List<JsonField> AsItems()
    {
        if (_value.ValueKind != JsonValueKind.Array)
        {
            throw Error($"expected an array, found {Kind}");
        }

        List<JsonField> items = new(_value.GetArrayLength());
        foreach (JsonElement item in _value.EnumerateArray())
        {
            items.Add(new JsonField(File, $"{Path}[{items.Count}]", item));
        }

        return items;
    }

    public TokenizerFormatException Error(string problem)
    {
        return new TokenizerFormatException(File, Path, problem);
    }
}
