namespace InferenceServer.Models.Tokenization.Patterns;

/// <summary>The runs of Han, Hiragana and Katakana that DeepSeek cuts out before its main pattern.</summary>
internal sealed class CjkRunScanner : Scanner
{
    public const string Pattern = "[\u4E00-\u9FA5\u3040-\u309F\u30A0-\u30FF]+";

    protected override int MatchAt(ReadOnlySpan<char> text, int at)
    {
        while (at < text.Length && text[at] is (>= '\u4E00' and <= '\u9FA5') or (>= '\u3040' and <= '\u30FF'))
        {
            at++;
        }

        return at;
    }
}
