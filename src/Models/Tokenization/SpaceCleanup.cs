namespace InferenceServer.Models.Tokenization;

/// <summary>The <c>clean_up_tokenization_spaces</c> of tokenizer_config.json: English punctuation and contractions lose the space before them.</summary>
internal static class SpaceCleanup
{
    private static readonly (string From, string To)[] s_replacements =
    [
        (" .", "."), (" ?", "?"), (" !", "!"), (" ,", ","), (" ' ", "'"),
        (" n't", "n't"), (" 'm", "'m"), (" 's", "'s"), (" 've", "'ve"), (" 're", "'re"),
    ];

    public static string Apply(string text)
    {
        foreach ((string from, string to) in s_replacements)
        {
            text = text.Replace(from, to, StringComparison.Ordinal);
        }

        return text;
    }
}
