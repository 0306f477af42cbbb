using System.Text.Json.Nodes;
using InferenceServer.Models.Tokenization;
using Xunit;

namespace InferenceServer.UnitTests.Tokenization;

/// <summary>The steps between text and ids, each in a tiny tokenizer whose tokens show what it did.</summary>
public sealed class TokenizerStepTests
{
    /// <summary>Letters, the marks that steps write, and digits; anything else is unknown and dropped.</summary>
    private static readonly string[] s_characters = [.. "abcxyzABÅÉé▁ .-,12".Select(character => character.ToString()), "\u0301", "ab", "-a", "1a"];

    [Theory]
    [InlineData("""{"type":"Lowercase"}""", "ABÉ", "abé")]
    [InlineData("""{"type":"Prepend","prepend":"-"}""", "ab", "-ab")]
    [InlineData("""{"type":"Replace","pattern":{"String":"ab"},"content":"x"}""", "abab c", "xx c")]
    [InlineData("""{"type":"Replace","pattern":{"Regex":"[ab]+"},"content":"-"}""", "abcba", "-c-")]
    [InlineData("""{"type":"Strip","strip_left":true,"strip_right":false}""", "  a ", "a ")]
    [InlineData("""{"type":"Strip","strip_left":false,"strip_right":true}""", "  a ", "  a")]
    [InlineData("""{"type":"Sequence","normalizers":[{"type":"NFD"},{"type":"StripAccents"}]}""", "é", "")]
    [InlineData("""{"type":"NFC"}""", "A\u030A", "Å")]
    [InlineData("""{"type":"NFKC"}""", "\uFF41\u212B", "aÅ")]
    public void A_normalizer_rewrites_the_text(string normalizer, string text, string expected)
    {
        JsonObject file = TestTokenizers.Tiny(s_characters);
        file["normalizer"] = JsonNode.Parse(normalizer);
        Tokenizer tokenizer = TestTokenizers.Build(file);

        Assert.Equal(expected, tokenizer.Decode(tokenizer.EncodeToIds(text)));
    }

    [Theory]
    [InlineData("Removed", false, "1a-.-2", "1a . 2")]
    [InlineData("Isolated", false, "a--b", "a - - b")]
    [InlineData("Contiguous", false, "a--b", "a -- b")]
    [InlineData("MergedWithPrevious", false, "-a--b", "- a- - b")]
    [InlineData("MergedWithNext", false, "-a--b", "-a - -b")]
    [InlineData("Removed", true, "a--b", "- -")]
    public void A_split_does_with_its_matches_what_its_behavior_says(string behavior, bool invert, string text, string expected)
    {
        JsonObject file = Merging("ab12-.");
        file["pre_tokenizer"] = new JsonObject
        {
            ["type"] = "Split",
            ["pattern"] = new JsonObject { ["String"] = "-" },
            ["behavior"] = behavior,
            ["invert"] = invert,
        };

        Assert.Equal(expected, Pieces(file, text));
    }

    [Theory]
    [InlineData("""{"type":"Digits","individual_digits":true}""", "a12b", "a 1 2 b")]
    [InlineData("""{"type":"Digits","individual_digits":false}""", "a12b", "a 12 b")]
    [InlineData("""{"type":"Punctuation"}""", "a-.b", "a - . b")]
    [InlineData("""{"type":"WhitespaceSplit"}""", "a  b", "a b")]
    [InlineData("""{"type":"Metaspace","replacement":"-","prepend_scheme":"always"}""", "a b", "-a -b")]
    [InlineData("""{"type":"Metaspace","replacement":"-","prepend_scheme":"never"}""", "a b", "a -b")]
    [InlineData("""{"type":"Metaspace","replacement":"-","add_prefix_space":false}""", "a b", "a -b")]
    [InlineData("""{"type":"Metaspace","replacement":"-","prepend_scheme":"always"}""", "-a", "-a")]
    [InlineData("""{"type":"Sequence","pretokenizers":[{"type":"ByteLevel","add_prefix_space":false,"use_regex":false},{"type":"Digits"}]}""",
        "ab1", "ab 1")]
    public void A_pre_tokenizer_cuts_the_text(string preTokenizer, string text, string expected)
    {
        JsonObject file = Merging("ab12-.");
        file["pre_tokenizer"] = JsonNode.Parse(preTokenizer);

        Assert.Equal(expected, Pieces(file, text));
    }

    [Fact]
    public void Metaspace_with_the_first_scheme_leaves_the_text_after_an_added_token_alone()
    {
        JsonObject file = TestTokenizers.Tiny(["a", "-"]);
        file["added_tokens"] = new JsonArray(TestTokenizers.AddedToken(2, "<s>", "special"));
        file["pre_tokenizer"] = JsonNode.Parse("""{"type":"Metaspace","replacement":"-","prepend_scheme":"first"}""");
        Tokenizer tokenizer = TestTokenizers.Build(file);

        Assert.Equal([1, 0, 2, 0], tokenizer.EncodeToIds("a<s>a"));
        Assert.Equal([2, 0], tokenizer.EncodeToIds("<s>a"));
    }

    [Theory]
    [InlineData("""{"type":"Strip","content":"-","start":1,"stop":2}""", "--a,---,-a-b-", "-aa-b")]
    [InlineData("""{"type":"Sequence","decoders":[{"type":"Fuse"},{"type":"Strip","content":"-","start":1,"stop":1}]}""", "--a,-,-", "-a-")]
    [InlineData("""{"type":"Metaspace","replacement":"-","prepend_scheme":"always"}""", "-a,-a", "a a")]
    [InlineData("""{"type":"Replace","pattern":{"Regex":"-+"},"content":"."}""", "--a,a-", ".aa.")]
    [InlineData("""null""", "a,a-", "a a-")]
    public void A_decoder_makes_text_of_tokens(string decoder, string tokens, string expected)
    {
        string[] parts = tokens.Split(',');
        JsonObject file = TestTokenizers.Tiny(parts.Distinct());
        file["decoder"] = JsonNode.Parse(decoder);
        Tokenizer tokenizer = TestTokenizers.Build(file);
        int[] ids = [.. parts.Select(part => tokenizer.TokenToId(part)!.Value)];
        IncrementalDetokenizer detokenizer = new(tokenizer);

        Assert.Equal(expected, tokenizer.Decode(ids));
        Assert.Equal(tokenizer.Decode(ids), string.Concat(ids.Select(detokenizer.Append)) + detokenizer.Flush());
    }

    [Fact]
    public void Of_added_tokens_that_start_together_the_longest_is_taken()
    {
        JsonObject file = TestTokenizers.Tiny(["a", "b"]);
        file["added_tokens"] = new JsonArray(
            TestTokenizers.AddedToken(2, "<a>"), TestTokenizers.AddedToken(3, "<a><b>"), TestTokenizers.AddedToken(4, "b>"));
        Tokenizer tokenizer = TestTokenizers.Build(file);

        Assert.Equal([3], tokenizer.EncodeToIds("<a><b>"));
        Assert.Equal([2, 2, 0], tokenizer.EncodeToIds("<a><a>a"));
        Assert.Equal([4], tokenizer.EncodeToIds("<b>"));
    }

    [Theory]
    [InlineData("a word", 1)]
    [InlineData("word.", 1)]
    [InlineData("words", 0)]
    [InlineData("éword", 0)]
    [InlineData("𝐛word", 0)]
    [InlineData("_word", 0)]
    [InlineData("Ⓐword", 0)]
    [InlineData("😀word", 1)]
    public void A_single_word_token_stands_between_characters_that_are_no_word(string text, int count)
    {
        JsonObject file = TestTokenizers.Tiny(["a"]);
        file["added_tokens"] = new JsonArray(TestTokenizers.AddedToken(1, "word", "single_word"));

        Assert.Equal(count, TestTokenizers.Build(file).EncodeToIds(text).Count(id => id == 1));
    }

    [Theory]
    [InlineData(true, false, new[] { 0, 2 })]
    [InlineData(false, false, new[] { 0, 0, 0, 2 })]
    [InlineData(true, true, new[] { 3, 4, 2 })]
    [InlineData(false, true, new[] { 3, 4, 2 })]
    public void A_character_not_in_the_vocabulary_is_unknown_or_its_bytes(bool fuse, bool bytes, int[] expected)
    {
        JsonObject file = TestTokenizers.Tiny(["<unk>", "a", "b", "<0xC3>", "<0xA9>"]);
        file["model"]!["unk_token"] = "<unk>";
        file["model"]!["fuse_unk"] = fuse;
        file["model"]!["byte_fallback"] = bytes;

        Assert.Equal(expected, TestTokenizers.Build(file).EncodeToIds(bytes ? "éb" : "é中éb"));
    }

    [Fact]
    public void Without_an_unknown_token_a_character_not_in_the_vocabulary_is_dropped()
    {
        Assert.Equal([0, 0], TestTokenizers.Build(TestTokenizers.Tiny(["a"])).EncodeToIds("a中a"));
    }

    [Fact]
    public void Ids_may_leave_holes()
    {
        JsonObject file = TestTokenizers.Tiny(["a"]);
        file["added_tokens"] = new JsonArray(TestTokenizers.AddedToken(900_000, "<s>", "special"));
        Tokenizer tokenizer = TestTokenizers.Build(file);

        Assert.Equal(2, tokenizer.VocabularySize);
        Assert.Equal([900_000, 0], tokenizer.EncodeToIds("<s>a"));
        Assert.Equal("a", tokenizer.Decode([1, 900_000, 0], skipSpecialTokens: true));
    }

    [Fact]
    public void A_piece_that_is_a_token_is_taken_whole_if_merges_are_ignored()
    {
        JsonObject file = TestTokenizers.Tiny(["a", "b", "c", "ab", "bc", "abc"], "b c", "a b");
        file["model"]!["ignore_merges"] = true;

        Assert.Equal([5], TestTokenizers.Build(file).EncodeToIds("abc"));
        file["model"]!["ignore_merges"] = false;
        Assert.Equal([0, 4], TestTokenizers.Build(file).EncodeToIds("abc"));
    }

    /// <summary>A tokenizer in which all pieces of up to three characters merge into one token.</summary>
    private static JsonObject Merging(string characters)
    {
        List<string> tokens = [.. characters.Select(character => character.ToString())];
        List<string> merges = [];
        for (int length = 2; length <= 3; length++)
        {
            foreach (string left in tokens.Where(token => token.Length == length - 1).ToArray())
            {
                foreach (char right in characters)
                {
                    merges.Add($"{left} {right}");
                    tokens.Add($"{left}{right}");
                }
            }
        }

        return TestTokenizers.Tiny(tokens, [.. merges]);
    }

    private static string Pieces(JsonObject file, string text)
    {
        Tokenizer tokenizer = TestTokenizers.Build(file);
        return string.Join(' ', tokenizer.EncodeToIds(text).Select(tokenizer.IdToToken));
    }
}
