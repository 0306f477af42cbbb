using System.Text.Json.Nodes;
using InferenceServer.Models.Tokenization;
using Xunit;

namespace InferenceServer.UnitTests.Tokenization;

/// <summary>Text as it comes out of a stream of ids.</summary>
public sealed class IncrementalDetokenizerTests
{
    [Fact]
    public void Only_an_incomplete_sequence_at_the_end_is_held_back()
    {
        Tokenizer tokenizer = TestTokenizers.Load("gpt2");
        IncrementalDetokenizer detokenizer = new(tokenizer);

        // E4 BD A0 is one character; F0 9F begins one of four bytes that the "A" after it breaks off.
        Assert.Equal(["", "", "你", "", "", "\uFFFDA"], BytesOf(tokenizer, 0xE4, 0xBD, 0xA0, 0xF0, 0x9F, 0x41).Select(detokenizer.Append));
        Assert.Equal(string.Empty, detokenizer.Flush());
    }

    [Fact]
    public void Flushing_gives_what_was_held_back_and_begins_a_new_stream()
    {
        Tokenizer tokenizer = TestTokenizers.Load("gpt2");
        IncrementalDetokenizer detokenizer = new(tokenizer);
        int[] ids = BytesOf(tokenizer, 0xE4, 0xBD);

        for (int stream = 0; stream < 2; stream++)
        {
            Assert.Equal(["", ""], ids.Select(detokenizer.Append));
            Assert.Equal("\uFFFD", detokenizer.Flush());
        }
    }

    [Fact]
    public void Unknown_ids_add_nothing_and_break_nothing_off()
    {
        Tokenizer tokenizer = TestTokenizers.Load("gpt2");
        IncrementalDetokenizer detokenizer = new(tokenizer);
        int[] bytes = BytesOf(tokenizer, 0xC3, 0xA9);

        Assert.Equal(["", "", "", "é"], new[] { bytes[0], -1, int.MaxValue, bytes[1] }.Select(detokenizer.Append));
    }

    [Theory]
    [InlineData(true, "hi")]
    [InlineData(false, "<|endoftext|>hi<|endoftext|>")]
    public void Special_tokens_are_left_out_if_asked(bool skipSpecialTokens, string expected)
    {
        Tokenizer tokenizer = TestTokenizers.Load("gpt2");
        IncrementalDetokenizer detokenizer = new(tokenizer, skipSpecialTokens);

        string text = string.Concat(tokenizer.EncodeToIds("<|endoftext|>hi<|endoftext|>").Select(detokenizer.Append));

        Assert.Equal(expected, text);
    }

    [Fact]
    public void Byte_tokens_give_a_character_as_soon_as_it_is_complete()
    {
        Tokenizer tokenizer = TestTokenizers.Load("mistral");
        IncrementalDetokenizer detokenizer = new(tokenizer);

        Assert.Equal(["", "", "", "😀", "", "é"], ByteTokens(tokenizer, 0xF0, 0x9F, 0x98, 0x80, 0xC3, 0xA9).Select(detokenizer.Append));
    }

    [Fact]
    public void An_invalid_run_of_byte_tokens_is_one_replacement_per_byte()
    {
        Tokenizer tokenizer = TestTokenizers.Load("mistral");
        IncrementalDetokenizer detokenizer = new(tokenizer);
        int[] ids = [.. ByteTokens(tokenizer, 0xE4, 0xBD, 0x41, 0xC3, 0xA9), tokenizer.TokenToId("x")!.Value];

        Assert.Equal(["", "", "\uFFFD\uFFFD\uFFFD", "\uFFFD", "\uFFFD", "x"], ids.Select(detokenizer.Append));
        Assert.Equal("\uFFFD\uFFFD\uFFFD\uFFFD\uFFFDx", tokenizer.Decode(ids));
    }

    [Fact]
    public void A_character_that_was_handed_on_stays_when_its_run_turns_out_invalid()
    {
        Tokenizer tokenizer = TestTokenizers.Load("mistral");
        IncrementalDetokenizer detokenizer = new(tokenizer);
        int[] ids = ByteTokens(tokenizer, 0xC3, 0xA9, 0xFF, 0x41);

        Assert.Equal(["", "é", "\uFFFD", "\uFFFD"], ids.Select(detokenizer.Append));
        Assert.Equal("\uFFFD\uFFFD\uFFFD\uFFFD", tokenizer.Decode(ids));
    }

    [Fact]
    public void Only_the_first_space_of_the_stream_is_stripped()
    {
        Tokenizer tokenizer = TestTokenizers.Load("mistral");
        IncrementalDetokenizer detokenizer = new(tokenizer);

        IEnumerable<string> texts = tokenizer.EncodeToIds("the of the").Select(detokenizer.Append);

        Assert.Equal(["", "the", " of", " the"], texts);
    }

    [Fact]
    public void A_stage_that_needs_whole_tokens_after_a_fusing_one_waits_for_the_end()
    {
        JsonObject file = TestTokenizers.Tiny(["a", "b"]);
        file["decoder"] = JsonNode.Parse(
            """{"type":"Sequence","decoders":[{"type":"Fuse"},{"type":"Replace","pattern":{"String":"ab"},"content":"-"}]}""");
        IncrementalDetokenizer detokenizer = new(TestTokenizers.Build(file));

        Assert.Equal(["", "", ""], new[] { 0, 1, 1 }.Select(detokenizer.Append));
        Assert.Equal("-b", detokenizer.Flush());
    }

    private static int[] BytesOf(Tokenizer tokenizer, params byte[] bytes)
    {
        return [.. bytes.Select(value => tokenizer.TokenToId(Models.Tokenization.Bpe.ByteAlphabet.ToChar(value).ToString())!.Value)];
    }

    private static int[] ByteTokens(Tokenizer tokenizer, params byte[] bytes)
    {
        return [.. bytes.Select(value => tokenizer.TokenToId($"<0x{value:X2}>")!.Value)];
    }
}
