using System.Text.Json.Nodes;
using InferenceServer.Models.Tokenization;
using Xunit;

namespace InferenceServer.UnitTests.Tokenization;

/// <summary>What tokenizer_config.json adds.</summary>
public sealed class TokenizerSettingsTests
{
    [Fact]
    public void Special_tokens_are_named_by_text_or_by_object()
    {
        Tokenizer tokenizer = Build("""{"bos_token": "<s>", "eos_token": {"content": "</s>", "lstrip": false}, "pad_token": null, "unk_token": "a"}""");

        Assert.Equal(0, tokenizer.BeginningOfSentenceId);
        Assert.Equal(1, tokenizer.EndOfSentenceId);
        Assert.Equal(2, tokenizer.UnknownId);
        Assert.Null(tokenizer.PaddingId);
    }

    [Fact]
    public void Without_a_config_there_are_no_special_ids()
    {
        Tokenizer tokenizer = Build("");

        Assert.Null(tokenizer.BeginningOfSentenceId);
        Assert.Null(tokenizer.EndOfSentenceId);
        Assert.Null(tokenizer.UnknownId);
        Assert.Null(tokenizer.PaddingId);
        Assert.False(tokenizer.CleansUpSpaces);
    }

    [Fact]
    public void A_padding_token_that_the_vocabulary_lacks_is_none()
    {
        Assert.Null(Build("""{"pad_token": "[PAD]"}""").PaddingId);
    }

    [Theory]
    [InlineData(true, """{}""", new[] { 0, 2 })]
    [InlineData(true, """{"bos_token": "<s>", "add_bos_token": true}""", new[] { 0, 2 })]
    [InlineData(true, """{"bos_token": "<s>", "add_bos_token": false}""", new[] { 2 })]
    [InlineData(true, """{"bos_token": "<s>", "eos_token": "</s>", "add_bos_token": true, "add_eos_token": true}""", new[] { 0, 2, 1 })]
    [InlineData(false, """{"bos_token": "<s>"}""", new[] { 2 })]
    [InlineData(false, """{"bos_token": "<s>", "add_bos_token": true}""", new[] { 0, 2 })]
    [InlineData(false, """{"bos_token": null, "add_bos_token": true}""", new[] { 2 })]
    [InlineData(false, """{"eos_token": "</s>", "add_eos_token": true}""", new[] { 2, 1 })]
    public void The_config_rules_over_the_template(bool hasTemplate, string config, int[] expected)
    {
        Tokenizer tokenizer = Build(config, hasTemplate);

        Assert.Equal(expected, tokenizer.EncodeToIds("a", addSpecialTokens: true));
        Assert.Equal(expected.Length, tokenizer.CountTokens("a"));
        Assert.Equal([2], tokenizer.EncodeToIds("a", addSpecialTokens: false));
    }

    [Fact]
    public void Spaces_are_cleaned_up_only_if_asked()
    {
        Tokenizer tokenizer = Build("""{"clean_up_tokenization_spaces": true}""");
        IReadOnlyList<int> ids = tokenizer.EncodeToIds("a .");

        Assert.True(tokenizer.CleansUpSpaces);
        Assert.Equal("a .", tokenizer.Decode(ids));
        Assert.Equal("a.", tokenizer.Decode(ids, cleanUpSpaces: true));
    }

    private static Tokenizer Build(string config, bool hasTemplate = false)
    {
        JsonObject file = TestTokenizers.Tiny(["<s>", "</s>", "a", " ", "."]);
        file["post_processor"] = hasTemplate
            ? JsonNode.Parse("""{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"x"}},{"Sequence":{"id":"A"}}],"special_tokens":{"x":{"ids":[0]}}}""")
            : null;
        return TestTokenizers.Build(file, config);
    }
}
