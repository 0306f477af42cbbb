using InferenceServer.Models.ChatTemplates;
using InferenceServer.Models.Tokenization;
using InferenceServer.Training.Tokenizers;
using Xunit;

namespace InferenceServer.UnitTests.Training.Tokenizers;

/// <summary>The tokenizers we train are read by the loader of everybody's tokenizers and mean what was learnt.</summary>
[Trait("Category", "Training")]
public sealed class BpeTrainerTests : IDisposable
{
    private static readonly TokenizerRecipe s_recipe = new()
    {
        VocabularySize = 2 + 256 + 40,
        SpecialTokens = ["<begin>", "<end>"],
        BeginToken = "<begin>",
        EndToken = "<end>",
        TextPrefix = ["<begin>"],
        ChatTemplate = "{{ bos_token }}{% for message in messages %}{{ message.content }}{{ eos_token }}{% endfor %}",
    };

    private readonly string _folder = Directory.CreateTempSubdirectory("bpe-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void The_example_of_the_paper_learns_its_merges_in_order()
    {
        // Sennrich et al. 2016, section 3.2, without its end-of-word mark: es (9), est (9), lo (7), low (7), then ties by id.
        string[] texts =
        [
            .. Enumerable.Repeat("low", 5), .. Enumerable.Repeat("lower", 2), .. Enumerable.Repeat("newest", 6), .. Enumerable.Repeat("widest", 3),
        ];

        TrainedTokenizer trained = BpeTrainer.Train(texts, s_recipe with { VocabularySize = 2 + 256 + 4 });

        Assert.Equal(["es", "est", "lo", "low"], trained.Tokens.Skip(2 + 256));
        Assert.Equal((trained.Tokens.ToList().IndexOf("es"), trained.Tokens.ToList().IndexOf("t")), trained.Merges[1]);
    }

    [Fact]
    public void A_pair_that_overlaps_itself_is_merged_from_the_left()
    {
        TrainedTokenizer trained = BpeTrainer.Train(["aaaaa", "aaaaa"], s_recipe with { VocabularySize = 2 + 256 + 2 });
        Tokenizer tokenizer = Write(trained);

        // First aa aa a; of its two pairs, as common as each other, (aa, a) has the lower ids.
        Assert.Equal(["aa", "aaa"], trained.Tokens.Skip(2 + 256));
        Assert.Equal(["aa", "aaa"], tokenizer.EncodeToIds("aaaaa", addSpecialTokens: false).Select(tokenizer.IdToToken));
    }

    [Theory]
    [InlineData("the theme of the thesis")]
    [InlineData("fünf Größen: 17 + 25 = 42!")]
    [InlineData("日本 🙂\n\ttab")]
    [InlineData("")]
    public void What_is_encoded_decodes_to_itself_whatever_the_text(string text)
    {
        Tokenizer tokenizer = Write(BpeTrainer.Train(["the theme of these theses", "the other theme"], s_recipe));

        IReadOnlyList<int> ids = tokenizer.EncodeToIds(text);

        Assert.Equal(tokenizer.BeginningOfSentenceId, ids[0]);
        Assert.Equal(text, tokenizer.Decode(ids, skipSpecialTokens: true));
    }

    [Fact]
    public void The_text_it_was_trained_on_becomes_short_and_no_token_crosses_two_words()
    {
        string[] texts = [.. Enumerable.Repeat("the theme of the thesis", 9)];
        TrainedTokenizer trained = BpeTrainer.Train(texts, s_recipe);
        Tokenizer tokenizer = Write(trained);

        Assert.Equal(["the", "Ġtheme", "Ġof", "Ġthe", "Ġthesis"], tokenizer.EncodeToIds(texts[0], addSpecialTokens: false).Select(tokenizer.IdToToken));
        Assert.DoesNotContain(trained.Tokens, token => token.IndexOf('Ġ', StringComparison.Ordinal) > 0);
    }

    [Fact]
    public void Digits_stay_alone_when_asked_for()
    {
        string[] texts = [.. Enumerable.Repeat("1999 1999", 9)];
        Tokenizer together = Write(BpeTrainer.Train(texts, s_recipe));
        Tokenizer alone = Write(BpeTrainer.Train(texts, s_recipe with { SplitsDigits = true }));

        Assert.Equal(["1999"], together.EncodeToIds("1999", addSpecialTokens: false).Select(together.IdToToken));
        Assert.Equal(["1", "9", "9", "9"], alone.EncodeToIds("1999", addSpecialTokens: false).Select(alone.IdToToken));
    }

    [Fact]
    public void It_stops_where_the_text_has_nothing_left_to_merge()
    {
        TrainedTokenizer trained = BpeTrainer.Train(["ab ab cd"], s_recipe with { VocabularySize = 5_000 });

        // "ab" and, as its own word, " ab" are not both twice there: only "ab" is.
        Assert.Equal(["ab"], trained.Tokens.Skip(2 + 256));
    }

    [Fact]
    public void A_limit_of_bytes_holds()
    {
        string[] texts = [.. Enumerable.Repeat("wonderful", 9)];

        TrainedTokenizer trained = BpeTrainer.Train(texts, s_recipe with { MaxTokenBytes = 3 });

        Assert.All(trained.Tokens.Skip(2), token => Assert.InRange(token.Length, 1, 3));
        Assert.Contains(trained.Tokens, token => token.Length == 3);
    }

    [Fact]
    public void The_same_text_gives_the_same_files()
    {
        string[] texts = ["one fish two fish", "red fish blue fish"];

        BpeTrainer.Train(texts, s_recipe).Write(_folder);
        byte[] first = File.ReadAllBytes(Path.Combine(_folder, Tokenizer.FileName));
        BpeTrainer.Train(texts.Reverse(), s_recipe).Write(_folder);

        Assert.Equal(first, File.ReadAllBytes(Path.Combine(_folder, Tokenizer.FileName)));
    }

    [Fact]
    public void Special_tokens_and_the_chat_template_are_there_for_serving()
    {
        TokenizerRecipe recipe = s_recipe with { TextSuffix = ["<end>"] };
        Tokenizer tokenizer = Write(BpeTrainer.Train(["hello"], recipe));
        ChatTemplateSet templates = ChatTemplateSet.FromFolder(_folder)!;

        Assert.Equal((0, 1), (tokenizer.BeginningOfSentenceId, tokenizer.EndOfSentenceId));
        Assert.Equal([0, 2 + 'a', 1], tokenizer.EncodeToIds("a"));
        Assert.Equal("<begin>a<end>b<end>", templates.Render([new ChatMessage("user", "a"), new ChatMessage("assistant", "b")], new ChatRenderOptions()));
        Assert.Equal([0, 2 + 'a', 1], tokenizer.EncodeToIds("<begin>a<end>", addSpecialTokens: false));
    }

    [Theory]
    [InlineData(257, "VocabularySize 257 is below the 258")]
    [InlineData(1000, "'<other>' is not among the special tokens")]
    public void A_recipe_that_does_not_hold_together_is_refused(int size, string message)
    {
        TokenizerRecipe recipe = s_recipe with { VocabularySize = size, TextSuffix = ["<other>"] };

        ArgumentException error = Assert.Throws<ArgumentException>(() => BpeTrainer.Train(["text"], recipe));

        Assert.StartsWith(message, error.Message, StringComparison.Ordinal);
    }

    private Tokenizer Write(TrainedTokenizer trained)
    {
        trained.Write(_folder);
        return Tokenizer.FromFolder(_folder);
    }
}
