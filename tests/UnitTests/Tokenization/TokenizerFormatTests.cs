using System.Text;
using System.Text.Json.Nodes;
using InferenceServer.Models.Tokenization;
using Xunit;

namespace InferenceServer.UnitTests.Tokenization;

/// <summary>A malformed file is refused with one kind of error that names file and field.</summary>
public sealed class TokenizerFormatTests
{
    [Theory]
    [InlineData("model", "null", "model", "expected an object, found Null")]
    [InlineData("model", "[]", "model", "expected an object, found StartArray")]
    [InlineData("model.type", "\"Unigram\"", "model.type", "'Unigram' is not supported: only BPE is")]
    [InlineData("model.type", "\"WordPiece\"", "model.type", "'WordPiece' is not supported: only BPE is")]
    [InlineData("model.type", "7", "model.type", "'Number' is not supported: only BPE is")]
    [InlineData("model.vocab", "[[\"a\", -1.5]]", "model.vocab", "expected an object, found StartArray")]
    [InlineData("model.vocab", "{\"a\": \"0\"}", "model.vocab['a']", "expected an id of 0..2147483647, found String")]
    [InlineData("model.vocab", "{\"a\": -1}", "model.vocab['a']", "expected an id of 0..2147483647, found -1")]
    [InlineData("model.vocab", "{\"a\": 1e99}", "model.vocab['a']", "expected an id of 0..2147483647, found 1e99")]
    [InlineData("model.vocab", "{\"a\": 0, \"b\": 0, \"ab\": 1}", "model.vocab", "'a' and 'b' have the same id 0")]
    [InlineData("model.vocab", "{\"a\": 0, \"b\": 2000000000, \"ab\": 1}", "model.vocab",
        "the id 2000000000 of 'b' is outside 0..1000011, the range for 3 tokens")]
    [InlineData("model.merges", "{}", "model.merges", "expected an array, found StartObject")]
    [InlineData("model.merges", "[\"a b\", \"a x\"]", "model.merges[1]", "'x' is not in model.vocab")]
    [InlineData("model.merges", "[\"b a\"]", "model.merges[0]", "'ba' is not in model.vocab")]
    [InlineData("model.merges", "[\"ab\"]", "model.merges[0]", "expected two tokens with one space between them, found 'ab'")]
    [InlineData("model.merges", "[\"a b c\"]", "model.merges[0]", "expected two tokens with one space between them, found 'a b c'")]
    [InlineData("model.merges", "[[\"a\"]]", "model.merges[0]", "expected two strings, found EndArray")]
    [InlineData("model.merges", "[[\"a\", \"b\", \"c\"]]", "model.merges[0]", "expected two strings, found more")]
    [InlineData("model.merges", "[[\"a\", 1]]", "model.merges[0]", "expected two strings, found Number")]
    [InlineData("model.merges", "[1]", "model.merges[0]", "expected a string or an array, found Number")]
    [InlineData("model.unk_token", "\"<unk>\"", "model.unk_token", "'<unk>' is not in the vocabulary")]
    [InlineData("model.unk_token", "3", "model.unk_token", "expected a string, found Number")]
    [InlineData("model.byte_fallback", "\"yes\"", "model.byte_fallback", "expected true or false, found String")]
    [InlineData("model.end_of_word_suffix", "\"</w>\"", "model.end_of_word_suffix", "'</w>' is not supported: only models without it are")]
    [InlineData("normalizer", "7", "normalizer", "expected an object, found Number")]
    [InlineData("normalizer", "{\"type\": \"Precompiled\"}", "normalizer.type", "the normalizer 'Precompiled' is not supported")]
    [InlineData("normalizer", "{\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"NFC\"}, {\"type\": \"Prepend\"}]}",
        "normalizer.normalizers[1].prepend", "expected a string, found nothing")]
    [InlineData("pre_tokenizer", "{\"type\": \"Bert\"}", "pre_tokenizer.type", "the pre-tokenizer 'Bert' is not supported")]
    [InlineData("pre_tokenizer", "{\"type\": \"Split\", \"pattern\": {}, \"behavior\": \"Isolated\"}",
        "pre_tokenizer.pattern", "expected a String or a Regex")]
    [InlineData("pre_tokenizer", "{\"type\": \"Split\", \"pattern\": {\"String\": \"x\"}, \"behavior\": \"Gone\"}",
        "pre_tokenizer.behavior", "'Gone' is not a behavior")]
    [InlineData("pre_tokenizer", "{\"type\": \"Metaspace\", \"replacement\": \"__\"}", "pre_tokenizer.replacement", "expected one character, found '__'")]
    [InlineData("pre_tokenizer", "{\"type\": \"Metaspace\", \"replacement\": \"_\", \"prepend_scheme\": \"often\"}",
        "pre_tokenizer.prepend_scheme", "'often' is none of always, first and never")]
    [InlineData("decoder", "{\"type\": \"CTC\"}", "decoder.type", "the decoder 'CTC' is not supported")]
    [InlineData("decoder", "{\"type\": \"Strip\", \"content\": \" \", \"start\": -1, \"stop\": 0}",
        "decoder.start", "expected a number of 0..2147483647, found -1")]
    [InlineData("post_processor", "{\"type\": \"BertProcessing\"}", "post_processor.type", "the post-processor 'BertProcessing' is not supported")]
    [InlineData("post_processor", "{\"type\": \"TemplateProcessing\", \"single\": [], \"special_tokens\": {}}",
        "post_processor.single", "expected the sequence once, found it 0 times")]
    [InlineData("post_processor", "{\"type\": \"TemplateProcessing\", \"single\": [{\"SpecialToken\": {\"id\": \"s\"}}], \"special_tokens\": {\"s\": {\"ids\": [99]}}}",
        "post_processor.special_tokens.s.ids[0]", "99 is the id of no token")]
    [InlineData("added_tokens", "{}", "added_tokens", "expected an array, found Object")]
    [InlineData("added_tokens", "[{\"id\": 3}]", "added_tokens[0].content", "expected a string, found nothing")]
    [InlineData("added_tokens", "[{\"id\": 3, \"content\": \"x\"}, {\"id\": 4, \"content\": \"x\"}]", "added_tokens[1]", "'x' is there twice")]
    [InlineData("added_tokens", "[{\"id\": 9, \"content\": \"a\"}]", "added_tokens", "'a' has the id 9 here and 0 elsewhere in the file")]
    [InlineData("added_tokens", "[{\"id\": 0, \"content\": \"x\"}]", "model.vocab", "'a' and 'x' have the same id 0")]
    [InlineData("added_tokens", "[{\"id\": 4000000000, \"content\": \"x\"}]", "added_tokens[0].id",
        "expected a number of 0..2147483647, found 4000000000")]
    public void A_value_that_cannot_be_is_refused_by_name(string field, string json, string expectedField, string problem)
    {
        JsonObject file = TestTokenizers.Tiny(["a", "b", "ab", "c"], "a b");
        string[] path = field.Split('.');
        (path.Length == 1 ? file : file[path[0]]!)[path[^1]] = JsonNode.Parse(json);

        TokenizerFormatException error = Assert.Throws<TokenizerFormatException>(() => TestTokenizers.Build(file));

        Assert.Equal($"tokenizer.json: {expectedField}: {problem}", error.Message);
        Assert.Equal("tokenizer.json", error.File);
        Assert.Equal(expectedField, error.Field);
    }

    [Theory]
    [InlineData("(a")]
    [InlineData(@"\p{Han}")]
    [InlineData("[a&&b]")]
    public void A_pattern_that_cannot_be_used_is_refused_by_name(string pattern)
    {
        JsonObject file = TestTokenizers.Tiny(["a"]);
        file["pre_tokenizer"] = new JsonObject
        {
            ["type"] = "Split",
            ["pattern"] = new JsonObject { ["Regex"] = pattern },
            ["behavior"] = "Isolated",
        };

        TokenizerFormatException error = Assert.Throws<TokenizerFormatException>(() => TestTokenizers.Build(file));

        Assert.StartsWith($"tokenizer.json: pre_tokenizer.pattern.Regex: '{pattern}' cannot be used: ", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_pattern_that_backtracks_without_end_fails_by_name()
    {
        JsonObject file = TestTokenizers.Tiny(["a"]);
        file["pre_tokenizer"] = new JsonObject
        {
            ["type"] = "Split",
            ["pattern"] = new JsonObject { ["Regex"] = "(?=a)(a+)+b" },
            ["behavior"] = "Isolated",
        };
        Tokenizer tokenizer = TestTokenizers.Build(file);

        TokenizerFormatException error = Assert.Throws<TokenizerFormatException>(() => tokenizer.EncodeToIds(new string('a', 64)));

        Assert.Equal("pre_tokenizer.pattern.Regex", error.Field);
    }

    [Fact]
    public void A_token_that_is_there_twice_is_refused()
    {
        TokenizerFormatException error = Refused("""{"model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "a": 2}, "merges": []}}""");

        Assert.Equal("tokenizer.json: model.vocab['a']: is there twice", error.Message);
    }

    [Theory]
    [InlineData("", "document")]
    [InlineData("7", "document")]
    [InlineData("{}", "model")]
    [InlineData("""{"model": {"type": "BPE", "merges": []}}""", "model.vocab")]
    [InlineData("""{"model": {"type": "BPE", "vocab": {}}}""", "model.merges")]
    [InlineData("""{"model": {"type": "BPE", "vocab": {"\ud800": 0}, "merges": []}}""", "model")]
    [InlineData("""{"model": {"type": "BPE", "vocab": {}, "merges": ["\ud800 b"]}}""", "model")]
    [InlineData("""{"added_tokens": [{"id": 0, "content": "\ud800"}], "model": {"type": "BPE", "vocab": {}, "merges": []}}""", "added_tokens[0].content")]
    [InlineData("""{"model": {"type": "BPE", "vocab": {}, "merges": []}} x""", "document")]
    public void A_document_that_is_not_a_tokenizer_is_refused(string json, string field)
    {
        Assert.Equal(field, Refused(json).Field);
    }

    [Fact]
    public void Steps_nested_without_end_are_refused()
    {
        string nested = string.Concat(Enumerable.Repeat("""{"type":"Sequence","normalizers":[""", 100_000));

        Assert.Equal("normalizer", Refused("{\"normalizer\": " + nested).Field);
    }

    [Fact]
    public void A_file_that_ends_early_is_refused_wherever_it_ends()
    {
        byte[] whole = SmallFile();
        for (int length = 0; length < whole.Length; length++)
        {
            Assert.Throws<TokenizerFormatException>(() => Tokenizer.FromJson(whole.AsSpan(0, length)));
        }
    }

    [Fact]
    public void A_file_with_damaged_bytes_is_refused_or_read_but_nothing_else()
    {
        byte[] whole = SmallFile();
        Random random = new(8);
        int refused = 0;
        for (int round = 0; round < 3000; round++)
        {
            byte[] damaged = [.. whole];
            for (int i = random.Next(1, 4); i > 0; i--)
            {
                damaged[random.Next(damaged.Length)] = (byte)random.Next(256);
            }

            try
            {
                Tokenizer.FromJson(damaged).EncodeToIds("ab c\u0301 1");
            }
            catch (TokenizerFormatException)
            {
                refused++;
            }
        }

        Assert.InRange(refused, 1000, 3000);
    }

    [Theory]
    [InlineData("{", "document")]
    [InlineData("[]", "document")]
    [InlineData("""{"bos_token": 3}""", "document.bos_token")]
    [InlineData("""{"bos_token": {"text": "<s>"}}""", "document.bos_token.content")]
    [InlineData("""{"bos_token": "<none>"}""", "bos_token")]
    [InlineData("""{"eos_token": "<none>"}""", "eos_token")]
    [InlineData("""{"add_bos_token": "yes"}""", "document.add_bos_token")]
    public void A_malformed_config_is_refused_by_name(string config, string field)
    {
        TokenizerFormatException error =
            Assert.Throws<TokenizerFormatException>(() => TestTokenizers.Build(TestTokenizers.Tiny(["<s>"]), config));

        Assert.Equal("tokenizer_config.json", error.File);
        Assert.Equal(field, error.Field);
    }

    private static TokenizerFormatException Refused(string json)
    {
        return Assert.Throws<TokenizerFormatException>(() => Tokenizer.FromJson(Encoding.UTF8.GetBytes(json)));
    }

    /// <summary>A tiny file that has something of everything.</summary>
    private static byte[] SmallFile()
    {
        JsonObject file = TestTokenizers.Tiny(["<unk>", "a", "b", "ab", "\u2581", "c", "\u2581c", "<s>"], "a b", "\u2581 c");
        file["added_tokens"] = new JsonArray(TestTokenizers.AddedToken(7, "<s>", "special"), TestTokenizers.AddedToken(8, "<x>", "normalized"));
        file["normalizer"] = JsonNode.Parse("""{"type":"Sequence","normalizers":[{"type":"NFC"},{"type":"Replace","pattern":{"String":" "},"content":"▁"}]}""");
        file["pre_tokenizer"] = JsonNode.Parse("""{"type":"Split","pattern":{"Regex":"▁?(\\p{L}|\\d)+"},"behavior":"Isolated","invert":false}""");
        file["post_processor"] = JsonNode.Parse(
            """{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<s>"}},{"Sequence":{"id":"A"}}],"special_tokens":{"<s>":{"ids":[7]}}}""");
        file["decoder"] = JsonNode.Parse(
            """{"type":"Sequence","decoders":[{"type":"ByteFallback"},{"type":"Fuse"},{"type":"Strip","content":" ","start":1,"stop":0}]}""");
        file["model"]!["unk_token"] = "<unk>";
        return Encoding.UTF8.GetBytes(file.ToJsonString());
    }
}
