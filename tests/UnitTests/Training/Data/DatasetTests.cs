using System.Text;
using System.Text.Json.Nodes;
using InferenceServer.Models.ChatTemplates;
using InferenceServer.Models.Tokenization;
using InferenceServer.Training;
using InferenceServer.Training.Data;
using InferenceServer.UnitTests.Tokenization;
using Xunit;

namespace InferenceServer.UnitTests.Training.Data;

/// <summary>What is learnt of each kind of sample, and what is said about those that are none.</summary>
[Trait("Category", "Training")]
public sealed class DatasetTests
{
    // One token a letter, besides "ab"; 30 ends a sentence, 31 and 32 stand around turns.
    private const int End = 30;
    private const int TurnStart = 31;
    private const int TurnEnd = 32;
    private const int Ignored = SupervisedSequence.Ignored;

    private static readonly string[] s_letters =
        [.. Enumerable.Range('a', 26).Select(letter => ((char)letter).ToString()), " ", "\n", "ab", ":", "</s>", "<|", "|>"];

    private static readonly Tokenizer s_tokenizer = CreateTokenizer();

    private static readonly ChatTemplateSet s_templates = Templates(
        "{% for m in messages %}<|{{ m.role }}:{{ m.content }}|>{% endfor %}{% if add_generation_prompt %}<|assistant:{% endif %}");

    [Fact]
    public void A_completion_is_learnt_with_the_end_and_its_prompt_is_not()
    {
        SupervisedSequence sample = Single("""{"prompt": "cd ", "completion": "ef", "id": 7}""");

        Assert.Equal([2, 3, 26, 4, 5, End], sample.Tokens);
        Assert.Equal([Ignored, Ignored, Ignored, 4, 5, End], sample.Labels);
    }

    [Fact]
    public void A_prompt_keeps_the_tokens_that_serving_makes_of_it()
    {
        SupervisedSequence sample = Single("""{"prompt": "ca", "completion": "bd"}""");

        // The whole text would have "ab" as one token.
        Assert.Equal([2, 28, 3], s_tokenizer.EncodeToIds("cabd"));
        Assert.Equal([2, 0, 1, 3, End], sample.Tokens);
        Assert.Equal([Ignored, Ignored, 1, 3, End], sample.Labels);
    }

    [Fact]
    public void A_text_is_learnt_as_a_whole_and_an_end_that_is_there_is_not_doubled()
    {
        Assert.Equal([28, 2, End], Single("""{"text": "abc"}""").Labels);
        Assert.Equal([28, 2, End], Single("""{"text": "abc</s>"}""").Tokens);
        Assert.Equal([28, 2], Single("""{"text": "abc"}""", new DatasetOptions { AppendsEndOfSentence = false }).Tokens);
    }

    [Fact]
    public void Of_a_conversation_the_assistants_turns_are_learnt()
    {
        SupervisedSequence sample = Single(
            """
            {"messages": [{"role": "user", "content": "c"}, {"role": "assistant", "content": "de"},
             {"role": "user", "content": "f"}, {"role": "assistant", "content": "g"}, {"role": "user", "content": "thanks"}]}
            """.ReplaceLineEndings(""));

        int[] prompt = [TurnStart, .. s_tokenizer.EncodeToIds("user:c"), TurnEnd, TurnStart, .. s_tokenizer.EncodeToIds("assistant:")];
        int[] again = [TurnStart, .. s_tokenizer.EncodeToIds("user:f"), TurnEnd, TurnStart, .. s_tokenizer.EncodeToIds("assistant:")];
        Assert.Equal([.. prompt, 3, 4, TurnEnd, .. again, 6, TurnEnd], sample.Tokens);
        Assert.Equal([.. Unlearnt(prompt), 3, 4, TurnEnd, .. Unlearnt(again), 6, TurnEnd], sample.Labels);
    }

    [Fact]
    public void A_completion_answers_its_prompt_and_the_last_turn_what_stands_before_it()
    {
        SampleQuestion pair = Single("""{"prompt": "cd ", "completion": "ef"}""").Question!;
        SampleQuestion turn = Single(
            """
            {"messages": [{"role": "user", "content": "c"}, {"role": "assistant", "content": "de"},
             {"role": "user", "content": "f"}, {"role": "assistant", "content": "g"}, {"role": "user", "content": "thanks"}]}
            """.ReplaceLineEndings("")).Question!;

        Assert.Equal([2, 3, 26], pair.Prompt.ToArray());
        Assert.Equal([4, 5], pair.Expected.ToArray());
        int[] before = [.. s_tokenizer.EncodeToIds("<|user:c|><|assistant:de|><|user:f|><|assistant:")];
        Assert.Equal(before, turn.Prompt.ToArray());
        Assert.Equal([6, TurnEnd], turn.Expected.ToArray());
        Assert.Equal((1, 1), (pair.Line, turn.Line));
    }

    [Fact]
    public void A_question_is_whole_where_its_sample_is_cut_and_there_is_none_to_a_text_or_beyond_the_cut()
    {
        const string Turns = """{"messages": [{"role": "assistant", "content": "c"}, {"role": "assistant", "content": "d"}]}""";

        SupervisedSequence cut = Single("""{"prompt": "cde", "completion": "fgh"}""", new DatasetOptions { MaxSampleTokens = 5 });

        Assert.Equal(5, cut.Tokens.Length);
        Assert.Equal([5, 6, 7], cut.Question!.Expected.ToArray());
        Assert.Null(Single("""{"text": "abc"}""").Question);
        Assert.Null(Single("""{"prompt": "", "completion": "a"}""").Question);
        Assert.NotNull(Single(Turns).Question);
        Assert.Null(Single(Turns, new DatasetOptions { MaxSampleTokens = 14 }).Question);
    }

    [Fact]
    public void A_template_that_rewrites_earlier_turns_is_refused()
    {
        ChatTemplateSet templates = Templates("{{ messages | length }}{% for m in messages %}{{ m.content }}{% endfor %}");

        DatasetException error = Assert.Throws<DatasetException>(
            () => Read("""{"messages": [{"role": "user", "content": "c"}, {"role": "assistant", "content": "d"}]}""", templates: templates));

        Assert.Equal("messages[1]", error.Field);
    }

    [Theory]
    [InlineData("{\"text\": \"a\"", null, "broken JSON")]
    [InlineData("""{"text": "a"} x""", null, "broken JSON")]
    [InlineData("""{"text": "a", "text": "b"}""", null, "broken JSON")]
    [InlineData("""["text"]""", null, "found an array")]
    [InlineData("""{"txt": "a"}""", null, "none of the fields")]
    [InlineData("""{"text": "a", "prompt": "b"}""", null, "more than one")]
    [InlineData("""{"text": 3}""", "text", "found a number")]
    [InlineData("""{"text": null}""", "text", "found null")]
    [InlineData("""{"text": "\ud800"}""", "text", "not valid Unicode")]
    [InlineData("""{"prompt": "a"}""", "completion", "missing")]
    [InlineData("""{"completion": "a"}""", "prompt", "missing")]
    [InlineData("""{"prompt": ["a"], "completion": "b"}""", "prompt", "found an array")]
    [InlineData("""{"messages": "a"}""", "messages", "found text")]
    [InlineData("""{"messages": [{"role": "user", "content": "a"}, 3]}""", "messages[1]", "found a number")]
    [InlineData("""{"messages": [{"content": "a"}]}""", "messages[0].role", "missing")]
    [InlineData("""{"messages": [{"role": true, "content": "a"}]}""", "messages[0].role", "found a boolean")]
    [InlineData("""{"messages": [{"role": "user", "content": 1}]}""", "messages[0].content", "found a number")]
    [InlineData("""{"messages": [{"role": "user", "content": "a"}]}""", "messages", "nothing to learn")]
    [InlineData("""{"messages": []}""", "messages", "nothing to learn")]
    public void A_line_that_is_no_sample_is_named_with_its_field(string line, string? field, string reason)
    {
        DatasetException error = Assert.Throws<DatasetException>(() => Read("{\"text\": \"fine\"}\n\n" + line + "\n"));

        Assert.Equal(3, error.Line);
        Assert.Equal(field, error.Field);
        string place = field is null ? "set.jsonl, line 3: " : $"set.jsonl, line 3, field '{field}': ";
        Assert.StartsWith(place, error.Message, StringComparison.Ordinal);
        Assert.Contains(reason, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_conversation_without_a_chat_template_is_refused()
    {
        using MemoryStream stream = new("""{"messages": [{"role": "user", "content": "a"}]}"""u8.ToArray());

        DatasetException error = Assert.Throws<DatasetException>(
            () => Dataset.Read(stream, "set.jsonl", s_tokenizer, null, new DatasetOptions()));

        Assert.Contains("no chat template", error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("")]
    [InlineData("\n \r\n\n")]
    public void An_empty_set_is_refused(string text)
    {
        DatasetException error = Assert.Throws<DatasetException>(() => Read(text));

        Assert.Equal("set.jsonl: the set is empty", error.Message);
    }

    [Fact]
    public void A_sample_that_is_too_long_is_cut_or_refused_as_asked()
    {
        const string Line = """{"prompt": "cde", "completion": "fgh"}""";
        DatasetOptions cut = new() { MaxSampleTokens = 5 };

        Assert.Equal([2, 3, 4, 5, 6], Single(Line, cut).Tokens);
        DatasetException refused = Assert.Throws<DatasetException>(() => Single(Line, cut with { LongSamples = LongSamplePolicy.Reject }));
        DatasetException nothingLeft = Assert.Throws<DatasetException>(() => Single(Line, cut with { MaxSampleTokens = 3 }));

        Assert.Contains("7 tokens exceed MaxSampleTokens 5", refused.Message, StringComparison.Ordinal);
        Assert.Contains("nothing left to learn in its first 3 of 7 tokens", nothingLeft.Message, StringComparison.Ordinal);
        Assert.Equal("completion", nothingLeft.Field);
    }

    [Fact]
    public void A_token_that_the_model_has_no_row_for_is_refused()
    {
        DatasetException error = Assert.Throws<DatasetException>(
            () => Single("""{"text": "abc"}""", new DatasetOptions { VocabularySize = 30 }));

        Assert.Contains("token 30 is outside the model's vocabulary of 30", error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(1000)]
    public void Lines_are_the_same_however_the_stream_is_cut(int bytesPerRead)
    {
        string text = "\uFEFF{\"text\": \"abc\"}\r\n\n  {\"text\": \"d\"}\t\n{\"text\": \"efghijklmnopqrstuvwxyz\"}";
        using DripStream stream = new(Encoding.UTF8.GetBytes(text), bytesPerRead);

        (int, string)[] lines =
            [.. JsonLines.Read(stream, "set.jsonl", 64).Select(line => (line.Line, Encoding.UTF8.GetString(line.Bytes.Span)))];

        Assert.Equal(
            [(1, """{"text": "abc"}"""), (3, """{"text": "d"}"""), (4, """{"text": "efghijklmnopqrstuvwxyz"}""")],
            lines);
    }

    [Theory]
    [InlineData(20, 20, true)]
    [InlineData(20, 21, false)]
    [InlineData(20, 22, false)]
    [InlineData(20, 23, false)]
    [InlineData(20, 100_000, false)]
    [InlineData(100_000, 100_000, true)]
    [InlineData(100_000, 100_001, false)]
    public void A_line_is_read_up_to_its_limit_and_not_beyond(int limit, int length, bool isRead)
    {
        string line = new('x', length);
        foreach (string text in new[] { line, line + "\n", line + "\r\n", "a\n" + line + "\r\nb" })
        {
            using MemoryStream stream = new(Encoding.UTF8.GetBytes(text));
            int Longest() => JsonLines.Read(stream, "set.jsonl", limit).Max(read => read.Bytes.Length);

            if (isRead)
            {
                Assert.Equal(length, Longest());
            }
            else
            {
                DatasetException error = Assert.Throws<DatasetException>(() => Longest());
                Assert.Contains($"longer than MaxLineBytes {limit}", error.Message, StringComparison.Ordinal);
            }
        }
    }

    [Fact]
    public void Spaces_after_a_line_count_towards_its_limit_and_never_hide_the_rest_of_it()
    {
        using MemoryStream stream = new(Encoding.UTF8.GetBytes("{}" + new string(' ', 500) + "{}\n"));

        Assert.Throws<DatasetException>(() => JsonLines.Read(stream, "set.jsonl", 20).Count());
    }

    [Fact]
    public void The_held_out_part_is_chosen_by_its_seed_and_shared_with_nothing()
    {
        Dataset all = new([.. Enumerable.Range(0, 40).Select(number => new SupervisedSequence([1, number], [1, number]))]);

        (Dataset train, Dataset heldOut) = all.Split(0.25, seed: 5);

        Assert.Equal(10, heldOut.Samples.Count);
        Assert.Equal(Numbers(all), Numbers(train).Concat(Numbers(heldOut)).Order());
        Assert.Equal(Numbers(heldOut), Numbers(all.Split(0.25, seed: 5).HeldOut));
        Assert.NotEqual(Numbers(heldOut), Numbers(all.Split(0.25, seed: 6).HeldOut));
        Assert.Single(all.Split(0.001, seed: 5).HeldOut.Samples);
        Assert.Empty(all.Split(0, seed: 5).HeldOut.Samples);
        Assert.Throws<ArgumentException>(() => new Dataset([all.Samples[0]]).Split(0.5, seed: 5));
    }

    internal static IEnumerable<int> Numbers(Dataset dataset) => dataset.Samples.Select(sample => sample.Tokens[1]);

    private static IEnumerable<int> Unlearnt(int[] tokens) => tokens.Select(_ => Ignored);

    private static SupervisedSequence Single(string line, DatasetOptions? options = null) => Assert.Single(Read(line, options).Samples);

    private static Dataset Read(string text, DatasetOptions? options = null, ChatTemplateSet? templates = null)
    {
        using MemoryStream stream = new(Encoding.UTF8.GetBytes(text));
        return Dataset.Read(stream, "set.jsonl", s_tokenizer, templates ?? s_templates, options ?? new DatasetOptions());
    }

    private static ChatTemplateSet Templates(string source) => new(
        new Dictionary<string, ChatTemplate> { [ChatTemplateSet.DefaultName] = ChatTemplate.Parse(source) }, new Dictionary<string, string>());

    private static Tokenizer CreateTokenizer()
    {
        JsonObject file = TestTokenizers.Tiny(s_letters, "a b");
        file["added_tokens"] = new JsonArray(
            TestTokenizers.AddedToken(End, "</s>", "special"),
            TestTokenizers.AddedToken(TurnStart, "<|", "special"),
            TestTokenizers.AddedToken(TurnEnd, "|>", "special"));
        return TestTokenizers.Build(file, """{"eos_token": "</s>"}""");
    }

    /// <summary>Gives a few bytes at a time.</summary>
    private sealed class DripStream(byte[] bytes, int bytesPerRead) : MemoryStream(bytes)
    {
        public override int Read(byte[] buffer, int offset, int count) => base.Read(buffer, offset, Math.Min(count, bytesPerRead));
    }
}
