using System.Text.Json;

namespace InferenceServer.Models.Tokenization.Loading;

/// <summary>Reads the <c>model</c> of tokenizer.json without building a document of its hundreds of thousands of entries.</summary>
internal static class BpeModelReader
{
    private static readonly string[] s_affixes = ["continuing_subword_prefix", "end_of_word_suffix"];

    /// <summary>Reads the model that <paramref name="reader"/> stands on, up to its closing brace.</summary>
    /// <exception cref="TokenizerFormatException">Another kind of model, or a field with a value it cannot have.</exception>
    public static BpeModelContent Read(ref Utf8JsonReader reader, string file)
    {
        if (reader.TokenType != JsonTokenType.StartObject)
        {
            throw new TokenizerFormatException(file, "model", $"expected an object, found {reader.TokenType}");
        }

        RequireBpe(reader, file);
        Dictionary<string, int>? tokens = null;
        Utf8JsonReader mergesReader = default;
        bool hasMerges = false;
        Dictionary<string, JsonField> fields = new(StringComparer.Ordinal);
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            string name = reader.GetString()!;
            reader.Read();
            switch (name)
            {
                case "vocab":
                    tokens = ReadTokens(ref reader, file);
                    break;
                case "merges":
                    // Merges name tokens, so they are read once the vocabulary is known, wherever in the file it stands.
                    mergesReader = reader;
                    hasMerges = true;
                    reader.Skip();
                    break;
                default:
                    fields[name] = new JsonField(file, $"model.{name}", JsonElement.ParseValue(ref reader));
                    break;
            }
        }

        if (tokens is null || !hasMerges)
        {
            throw new TokenizerFormatException(file, tokens is null ? "model.vocab" : "model.merges", "is missing");
        }

        foreach (string affix in s_affixes)
        {
            JsonField field = Field(affix);
            if (!field.IsNull && field.AsString().Length > 0)
            {
                throw field.Error($"'{field.AsString()}' is not supported: only models without it are");
            }
        }

        MergesReader merges = new(tokens, file);
        merges.Read(ref mergesReader);
        JsonField unknown = Field("unk_token");
        return new BpeModelContent(
            tokens,
            merges.Pairs,
            [.. merges.MergedIds],
            unknown.IsNull ? null : unknown.AsString(),
            Field("fuse_unk").AsBool(absent: false),
            Field("byte_fallback").AsBool(absent: false),
            Field("ignore_merges").AsBool(absent: false));

        JsonField Field(string name)
        {
            return fields.TryGetValue(name, out JsonField field) ? field : new JsonField(file, $"model.{name}", default);
        }
    }

    /// <summary>
    /// Looks ahead for the type, on a copy of the reader, so that a Unigram vocabulary is not reported as a malformed BPE one. Files
    /// from before the field existed are BPE or malformed.
    /// </summary>
    private static void RequireBpe(Utf8JsonReader reader, string file)
    {
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            bool isType = reader.ValueTextEquals("type"u8);
            reader.Read();
            if (isType)
            {
                string? type = reader.TokenType == JsonTokenType.String ? reader.GetString() : reader.TokenType.ToString();
                if (type != "BPE")
                {
                    throw new TokenizerFormatException(file, "model.type", $"'{type}' is not supported: only BPE is");
                }

                return;
            }

            reader.Skip();
        }
    }

    private static Dictionary<string, int> ReadTokens(ref Utf8JsonReader reader, string file)
    {
        if (reader.TokenType != JsonTokenType.StartObject)
        {
            throw new TokenizerFormatException(file, "model.vocab", $"expected an object, found {reader.TokenType}");
        }

        Dictionary<string, int> tokens = new(StringComparer.Ordinal);
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            string token = reader.GetString()!;
            reader.Read();
            if (reader.TokenType != JsonTokenType.Number || !reader.TryGetInt32(out int id) || id < 0)
            {
                string found = reader.TokenType == JsonTokenType.Number ? System.Text.Encoding.UTF8.GetString(reader.ValueSpan) : reader.TokenType.ToString();
                throw new TokenizerFormatException(file, $"model.vocab['{token}']", $"expected an id of 0..{int.MaxValue}, found {found}");
            }

            if (!tokens.TryAdd(token, id))
            {
                throw new TokenizerFormatException(file, $"model.vocab['{token}']", "is there twice");
            }
        }

        return tokens;
    }
}
