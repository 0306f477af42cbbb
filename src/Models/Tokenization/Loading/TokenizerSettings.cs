using System.Text.Json;

namespace InferenceServer.Models.Tokenization.Loading;

/// <summary>What tokenizer_config.json says beyond tokenizer.json; all of it may be missing.</summary>
internal sealed record TokenizerSettings
{
    public const string FileName = "tokenizer_config.json";

    public string? BeginningToken { get; private init; }

    public string? EndToken { get; private init; }

    public string? UnknownToken { get; private init; }

    public string? PaddingToken { get; private init; }

    /// <summary>Whether encoding with special tokens begins with the beginning token; null leaves it to the post-processor.</summary>
    public bool? AddsBeginning { get; private init; }

    /// <summary>Whether encoding with special tokens ends with the end token; null leaves it to the post-processor.</summary>
    public bool? AddsEnd { get; private init; }

    public bool CleansUpSpaces { get; private init; }

    /// <exception cref="TokenizerFormatException">The text is no JSON object, or a field has a value it cannot have.</exception>
    public static TokenizerSettings Read(ReadOnlySpan<byte> utf8)
    {
        if (utf8.StartsWith("\uFEFF"u8))
        {
            utf8 = utf8[3..];
        }

        JsonElement document;
        try
        {
            Utf8JsonReader reader = new(utf8);
            document = JsonElement.ParseValue(ref reader);
        }
        catch (JsonException error)
        {
            throw new TokenizerFormatException(FileName, "document", error.Message, error);
        }

        JsonField root = new(FileName, "document", document);
        return new TokenizerSettings
        {
            BeginningToken = Token(root["bos_token"]),
            EndToken = Token(root["eos_token"]),
            UnknownToken = Token(root["unk_token"]),
            PaddingToken = Token(root["pad_token"]),
            AddsBeginning = root["add_bos_token"].AsOptionalBool(),
            AddsEnd = root["add_eos_token"].AsOptionalBool(),
            CleansUpSpaces = root["clean_up_tokenization_spaces"].AsBool(absent: false),
        };
    }

    /// <summary>A token is written as its text, or as an object with its text and flags.</summary>
    private static string? Token(JsonField field)
    {
        if (field.IsNull)
        {
            return null;
        }

        return field.IsObject ? field["content"].AsString() : field.AsString();
    }
}
