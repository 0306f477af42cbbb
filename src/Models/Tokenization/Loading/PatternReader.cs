using InferenceServer.Models.Tokenization.Patterns;

namespace InferenceServer.Models.Tokenization.Loading;

/// <summary>Reads the <c>pattern</c> of a Split or Replace: <c>{"String": ...}</c> or <c>{"Regex": ...}</c>.</summary>
internal static class PatternReader
{
    public static TextPattern Read(JsonField pattern)
    {
        JsonField literal = pattern["String"];
        if (!literal.IsNull)
        {
            return new LiteralPattern(literal.AsString());
        }

        JsonField regex = pattern["Regex"];
        if (regex.IsNull)
        {
            throw pattern.Error("expected a String or a Regex");
        }

        return regex.AsString() switch
        {
            Gpt2Scanner.Pattern or Gpt2Scanner.LongPattern => new Gpt2Scanner(),
            Llama3Scanner.ThreeDigitsPattern => new Llama3Scanner(maxDigits: 3),
            Llama3Scanner.OneDigitPattern => new Llama3Scanner(maxDigits: 1),
            O200kScanner.Pattern => new O200kScanner(),
            NumberRunScanner.Pattern => new NumberRunScanner(),
            CjkRunScanner.Pattern => new CjkRunScanner(),
            DeepSeekScanner.Pattern => new DeepSeekScanner(),
            string other => new RegexPattern(regex.File, regex.Path, other),
        };
    }

    /// <summary>The <c>pattern</c> and <c>content</c> of a Replace.</summary>
    public static Replacement ReadReplacement(JsonField replace)
    {
        JsonField pattern = replace["pattern"];
        JsonField literal = pattern["String"];
        return new Replacement(Read(pattern), literal.IsNull ? null : literal.AsString(), replace["content"].AsString());
    }
}
