using System.Text;
using System.Text.Json.Nodes;
using InferenceServer.Models.Tokenization;
using Xunit;

namespace InferenceServer.UnitTests.Tokenization;

/// <summary>What holds for every text and every row of ids.</summary>
public sealed class TokenizerPropertyTests
{
    private const int Rounds = 400;

    [Theory]
    [InlineData("gpt2")]
    [InlineData("mistral")]
    public void Decoding_the_ids_of_a_text_gives_the_text_back(string name)
    {
        Tokenizer tokenizer = TestTokenizers.Load(name);
        Random random = new(1);
        for (int round = 0; round < Rounds; round++)
        {
            string text = round % 2 == 0 ? TestTokenizers.RandomText(random, 60) : RandomCodePoints(random, 40);

            Assert.Equal(text, tokenizer.Decode(tokenizer.EncodeToIds(text, addSpecialTokens: false)));
        }
    }

    [Fact]
    public void Qwen_gives_the_composed_form_of_a_text_back()
    {
        Tokenizer tokenizer = TestTokenizers.Load("qwen3");
        Random random = new(2);
        for (int round = 0; round < Rounds; round++)
        {
            string text = TestTokenizers.RandomText(random, 60);

            Assert.Equal(text.Normalize(NormalizationForm.FormC), tokenizer.Decode(tokenizer.EncodeToIds(text)));
        }
    }

    [Theory]
    [InlineData("gpt2", true)]
    [InlineData("gpt2", false)]
    [InlineData("qwen3", true)]
    [InlineData("v-added-flags", true)]
    public void A_stream_of_any_ids_gives_the_text_that_decoding_them_gives(string name, bool skipSpecialTokens)
    {
        Tokenizer tokenizer = TestTokenizers.Load(name);
        Random random = new(3);
        IncrementalDetokenizer detokenizer = new(tokenizer, skipSpecialTokens);
        for (int round = 0; round < Rounds; round++)
        {
            // Low ids are single bytes in these vocabularies: mostly invalid UTF-8.
            int limit = round % 2 == 0 ? 256 : tokenizer.VocabularySize + 3;
            int[] ids = [.. Enumerable.Range(0, random.Next(30)).Select(_ => random.Next(limit))];

            string streamed = string.Concat(ids.Select(detokenizer.Append)) + detokenizer.Flush();

            Assert.Equal(tokenizer.Decode(ids, skipSpecialTokens), streamed);
        }
    }

    [Theory]
    [InlineData("gpt2")]
    [InlineData("mistral")]
    [InlineData("qwen3")]
    public void A_stream_of_the_ids_of_a_text_gives_the_text_that_decoding_them_gives(string name)
    {
        Tokenizer tokenizer = TestTokenizers.Load(name);
        Random random = new(4);
        IncrementalDetokenizer detokenizer = new(tokenizer);
        for (int round = 0; round < Rounds; round++)
        {
            IReadOnlyList<int> ids = tokenizer.EncodeToIds(TestTokenizers.RandomText(random, 60));

            string streamed = string.Concat(ids.Select(detokenizer.Append)) + detokenizer.Flush();

            Assert.Equal(tokenizer.Decode(ids, skipSpecialTokens: true), streamed);
        }
    }

    [Fact]
    public void Many_callers_at_once_get_what_one_gets()
    {
        Random random = new(5);
        string[] texts = [.. Enumerable.Range(0, 200).Select(_ => TestTokenizers.RandomText(random, 80))];
        foreach (string name in (string[])["gpt2", "mistral", "qwen3"])
        {
            // One tokenizer has seen the texts before in order, the other meets them in all threads at once.
            Tokenizer alone = TestTokenizers.Load(name);
            int[][] expected = [.. texts.Select(text => alone.EncodeToIds(text).ToArray())];
            Tokenizer shared = TestTokenizers.Load(name);

            Parallel.For(0, 8 * texts.Length, new ParallelOptions { MaxDegreeOfParallelism = 8 }, i =>
            {
                int index = i % texts.Length;
                Assert.Equal(expected[index], shared.EncodeToIds(texts[index]));
                Assert.Equal(alone.Decode(expected[index]), shared.Decode(expected[index]));
            });
        }
    }

    [Fact]
    public void Cutting_before_spaces_changes_no_id()
    {
        // With ignore_merges, which only matters for a text that is one token, the whole text is merged as one piece.
        JsonNode uncut = JsonNode.Parse(TestTokenizers.Bytes("mistral"))!;
        uncut["model"]!["ignore_merges"] = true;
        Tokenizer whole = TestTokenizers.Build(uncut);
        Tokenizer cut = TestTokenizers.Load("mistral");
        Random random = new(6);
        for (int round = 0; round < Rounds; round++)
        {
            string text = TestTokenizers.RandomText(random, 200) + "\u2581 \u2581\u2581x end";

            Assert.Equal(whole.EncodeToIds(text), cut.EncodeToIds(text));
        }
    }

    [Fact]
    public void A_million_characters_without_a_break_are_encoded()
    {
        foreach (string name in (string[])["gpt2", "mistral"])
        {
            Tokenizer tokenizer = TestTokenizers.Load(name);
            foreach (string unit in (string[])["a", " ", "中", "'"])
            {
                string text = string.Concat(Enumerable.Repeat(unit, 1_000_000));

                Assert.Equal(text, tokenizer.Decode(tokenizer.EncodeToIds(text, addSpecialTokens: false)));
            }
        }
    }

    private static string RandomCodePoints(Random random, int maxLength)
    {
        StringBuilder text = new();
        for (int left = random.Next(maxLength + 1); left > 0; left--)
        {
            int value = random.Next(random.Next(2) == 0 ? 0x3000 : 0x110000);

            // The space of sentencepiece comes back as a space: that tokenizer cannot tell them apart.
            if (Rune.IsValid(value) && value != 0x2581)
            {
                text.Append(new Rune(value).ToString());
            }
        }

        return text.ToString();
    }
}
