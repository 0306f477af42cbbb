namespace InferenceServer.Models.Tokenization.Loading;

/// <summary>Reads <c>added_tokens</c> of tokenizer.json.</summary>
internal static class AddedTokensReader
{
    public static List<AddedToken> Read(JsonField field)
    {
        List<AddedToken> tokens = [];
        HashSet<string> seen = new(StringComparer.Ordinal);
        if (field.IsNull)
        {
            return tokens;
        }

        foreach (JsonField item in field.AsItems())
        {
            AddedToken token = new(
                item["id"].AsCount(),
                item["content"].AsString(),
                item["special"].AsBool(absent: false),
                item["normalized"].AsBool(absent: true),
                item["single_word"].AsBool(absent: false),
                item["lstrip"].AsBool(absent: false),
                item["rstrip"].AsBool(absent: false));
            if (!seen.Add(token.Content))
            {
                throw item.Error($"'{token.Content}' is there twice");
            }

            tokens.Add(token);
        }

        return tokens;
    }
}
