using System.Text.Json;

namespace InferenceServer.Models.Tokenization.Loading;

/// <summary>
/// tokenizer.json in its parts. The model, which is nearly all of the file, is read as a stream of JSON tokens; the small rest as fields.
/// </summary>
internal sealed class TokenizerFile
{
    private readonly Dictionary<string, JsonField> _fields;
    private readonly string _name;

    private TokenizerFile(string name, BpeModelContent model, Dictionary<string, JsonField> fields)
    {
        _name = name;
        Model = model;
        _fields = fields;
    }

    public BpeModelContent Model { get; }

    /// <summary>A member of the document other than the model; one that is not there is a null field.</summary>
    public JsonField this[string name] => _fields.TryGetValue(name, out JsonField field) ? field : new JsonField(_name, name, default);

    /// <exception cref="TokenizerFormatException">The text is no JSON, or not that of a BPE tokenizer.</exception>
    public static TokenizerFile Read(ReadOnlySpan<byte> utf8, string name)
    {
        if (utf8.StartsWith("\uFEFF"u8))
        {
            utf8 = utf8[3..];
        }

        string place = "document";
        try
        {
            return Read(utf8, name, ref place);
        }
        catch (Exception error) when (error is JsonException or InvalidOperationException)
        {
            // InvalidOperationException: a property name that is not valid Unicode.
            throw new TokenizerFormatException(name, place, error.Message, error);
        }
    }

    private static TokenizerFile Read(ReadOnlySpan<byte> utf8, string name, ref string place)
    {
        Utf8JsonReader reader = new(utf8);
        BpeModelContent? model = null;
        Dictionary<string, JsonField> fields = new(StringComparer.Ordinal);
        reader.Read();
        if (reader.TokenType != JsonTokenType.StartObject)
        {
            throw new TokenizerFormatException(name, place, $"expected an object, found {reader.TokenType}");
        }

        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            place = reader.GetString()!;
            reader.Read();
            if (place == "model")
            {
                model = BpeModelReader.Read(ref reader, name);
            }
            else
            {
                fields[place] = new JsonField(name, place, JsonElement.ParseValue(ref reader));
            }
        }

        place = "document";
        reader.Read();
        return new TokenizerFile(name, model ?? throw new TokenizerFormatException(name, "model", "is missing"), fields);
    }
}
