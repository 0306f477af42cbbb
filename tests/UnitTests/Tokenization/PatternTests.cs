using InferenceServer.Models.Tokenization;
using InferenceServer.Models.Tokenization.Patterns;
using Xunit;

namespace InferenceServer.UnitTests.Tokenization;

/// <summary>The patterns that pre-tokenizers cut with.</summary>
public sealed class PatternTests
{
    private static readonly (TextPattern Scanner, string Pattern)[] s_scanners =
    [
        (new Gpt2Scanner(), Gpt2Scanner.Pattern),
        (new Gpt2Scanner(), Gpt2Scanner.LongPattern),
        (new Llama3Scanner(3), Llama3Scanner.ThreeDigitsPattern),
        (new Llama3Scanner(1), Llama3Scanner.OneDigitPattern),
        (new O200kScanner(), O200kScanner.Pattern),
        (new DeepSeekScanner(), DeepSeekScanner.Pattern),
        (new NumberRunScanner(), NumberRunScanner.Pattern),
        (new CjkRunScanner(), CjkRunScanner.Pattern),
    ];

    [Fact]
    public void Scanners_cut_as_the_expression_they_are_written_for()
    {
        Random random = new(7);
        foreach ((TextPattern scanner, string pattern) in s_scanners)
        {
            RegexPattern regex = new("tokenizer.json", "pattern", pattern);
            for (int round = 0; round < 3000; round++)
            {
                string text = TestTokenizers.RandomText(random, 12);

                Assert.True(
                    Cut(regex, text).SequenceEqual(Cut(scanner, text)),
                    $"{scanner.GetType().Name} cuts '{text}' into [{string.Join('|', Pieces(scanner, text))}] "
                    + $"instead of [{string.Join('|', Pieces(regex, text))}]");
            }
        }
    }

    [Theory]
    [InlineData("a𝐛c 𝟏𝟐𝟑𝟒 𠀀字", "a𝐛c| |𝟏𝟐𝟑|𝟒| 𠀀字")]
    [InlineData("it'ſ it'LL it'x", "it|'ſ| it|'LL| it|'x")]
    [InlineData("a \n\n  b   ", "a| \n\n| | b|   ")]
    [InlineData("x=1;\r\n!", "x|=|1|;\r\n|!")]
    public void The_pattern_of_llama_3_cuts(string text, string expected)
    {
        Assert.Equal(expected.Split('|'), Pieces(new Llama3Scanner(3), text));
    }

    [Theory]
    [InlineData("HTTPServer isn't camelCase", "HTTPServer| isn't| camel|Case")]
    [InlineData("\u0301ABC 中AB", "\u0301|ABC| 中|AB")]
    [InlineData("path//\n/x", "path|//\n/|x")]
    public void The_pattern_of_o200k_cuts(string text, string expected)
    {
        Assert.Equal(expected.Split('|'), Pieces(new O200kScanner(), text));
    }

    [Fact]
    public void What_a_pattern_does_not_match_is_a_part_too()
    {
        List<TextCut> cuts = Cut(new DeepSeekScanner(), "12\u0001\u0002ab34");

        // The second control character leads the word, as any character that is no letter may.
        Assert.Equal([new TextCut(3, false), new TextCut(6, true), new TextCut(8, false)], cuts);
    }

    [Theory]
    [InlineData("a++b", "(?>a+)b")]
    [InlineData(@"[^\r\n\p{L}]?+\p{L}++", @"(?>[^\r\n\p{L}]?)(?>\p{L}+)")]
    [InlineData("(?:ab|c)*+d", "(?>(?:ab|c)*)d")]
    [InlineData(@"\++x+?", @"\++x+?")]
    [InlineData("ab{1,3}+", "a(?:b{1,3})+")]
    [InlineData("b{2}?c{1,2}?", "(?:b{2})?c{1,2}?")]
    [InlineData("[]a]++", "(?>[]a]+)")]
    public void Quantifiers_that_dotnet_lacks_become_groups(string pattern, string expected)
    {
        Assert.Equal(expected, RegexTranslator.Translate(pattern));
    }

    [Theory]
    [InlineData(@"[\p{L}&&[^\p{Lu}]]")]
    [InlineData("[a[bc]]")]
    [InlineData(@"\p{Han}+")]
    [InlineData("(unclosed")]
    [InlineData("[😀]")]
    public void A_pattern_that_dotnet_cannot_read_or_reads_otherwise_is_refused(string pattern)
    {
        Assert.Throws<TokenizerFormatException>(() => new RegexPattern("tokenizer.json", "pattern", pattern));
    }

    [Fact]
    public void The_pattern_of_cl100k_with_possessive_quantifiers_cuts()
    {
        RegexPattern pattern = new(
            "tokenizer.json",
            "pattern",
            @"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s");

        Assert.Equal(["a𝐛", "'S", " ", "123", "!!\n", " ", " x"], Pieces(pattern, "a𝐛'S 123!!\n  x"));
    }

    [Fact]
    public void A_literal_is_cut_out_wherever_it_stands()
    {
        LiteralPattern pattern = new("ab");

        Assert.Equal([new TextCut(2, true), new TextCut(3, false), new TextCut(5, true), new TextCut(7, true)], Cut(pattern, "abxabab"));
        Assert.Equal([new TextCut(1, false)], Cut(pattern, "b"));
        Assert.Empty(Cut(pattern, string.Empty));
    }

    private static List<TextCut> Cut(TextPattern pattern, string text)
    {
        List<TextCut> cuts = [];
        pattern.Cut(text, cuts);
        return cuts;
    }

    private static List<string> Pieces(TextPattern pattern, string text)
    {
        List<string> pieces = [];
        int start = 0;
        foreach (TextCut cut in Cut(pattern, text))
        {
            pieces.Add(text[start..cut.End]);
            start = cut.End;
        }

        return pieces;
    }
}
