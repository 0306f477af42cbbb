namespace InferenceServer.Models.Tokenization.Loading;

/// <summary>The fields that the Metaspace pre-tokenizer and decoder share.</summary>
/// <param name="Replacement">The character that stands for a space.</param>
/// <param name="Prepends">Whether a space is put in front.</param>
/// <param name="FirstOnly">Whether that is done only at the beginning of the text.</param>
internal readonly record struct MetaspaceScheme(char Replacement, bool Prepends, bool FirstOnly)
{
    public static MetaspaceScheme Read(JsonField field)
    {
        string replacement = field["replacement"].AsString();
        if (replacement.Length != 1)
        {
            throw field["replacement"].Error($"expected one character, found '{replacement}'");
        }

        // Files from before prepend_scheme say it with add_prefix_space.
        JsonField scheme = field["prepend_scheme"];
        string prepend = scheme.IsNull ? (field["add_prefix_space"].AsBool(absent: true) ? "always" : "never") : scheme.AsString();
        return prepend is "always" or "first" or "never"
            ? new MetaspaceScheme(replacement[0], prepend != "never", prepend == "first")
            : throw scheme.Error($"'{prepend}' is none of always, first and never");
    }
}
