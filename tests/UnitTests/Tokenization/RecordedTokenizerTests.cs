using System.Text.Json;
using InferenceServer.Models.Tokenization;
using Xunit;

namespace InferenceServer.UnitTests.Tokenization;

/// <summary>The small recorded tokenizers, which run everywhere.</summary>
public sealed class RecordedTokenizerTests
{
    [Theory]
    [InlineData("gpt2")]
    [InlineData("mistral")]
    [InlineData("qwen3")]
    [InlineData("v-added-flags")]
    public void Every_recorded_case_gives_what_was_recorded(string name)
    {
        Tokenizer tokenizer = TestTokenizers.Load(name);
        byte[] bytes = File.ReadAllBytes(Path.Combine(TestTokenizers.Folder, $"{name}.cases.json"));
        JsonElement recorded = JsonSerializer.Deserialize<JsonElement>(bytes);

        Assert.Equal(recorded.GetProperty("vocab_size").GetInt32(), tokenizer.VocabularySize);
        foreach (string section in (string[])["cases", "stream", "decode"])
        {
            Assert.NotEqual(0, recorded.GetProperty(section).GetArrayLength());
            foreach (JsonElement one in recorded.GetProperty(section).EnumerateArray())
            {
                TokenizerCase.Check(tokenizer, section, one);
            }
        }
    }

    [Fact]
    public void A_folder_gives_the_same_tokenizer_as_its_files()
    {
        string folder = Directory.CreateTempSubdirectory("tokenizer").FullName;
        try
        {
            File.WriteAllBytes(Path.Combine(folder, "tokenizer.json"), TestTokenizers.Bytes("gpt2"));
            File.WriteAllText(Path.Combine(folder, "tokenizer_config.json"), """{"eos_token": "<|endoftext|>"}""");

            Tokenizer tokenizer = Tokenizer.FromFolder(folder);

            Assert.Equal(4000, tokenizer.EndOfSentenceId);
            Assert.Equal(TestTokenizers.Load("gpt2").EncodeToIds("Hello, world!"), tokenizer.EncodeToIds("Hello, world!"));
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    [Fact]
    public void A_folder_without_a_tokenizer_says_which_file_is_not_there()
    {
        string folder = Directory.CreateTempSubdirectory("tokenizer").FullName;
        try
        {
            FileNotFoundException error = Assert.Throws<FileNotFoundException>(() => Tokenizer.FromFolder(folder));

            Assert.Equal(Path.Combine(folder, "tokenizer.json"), error.FileName);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    [Fact]
    public void Tokens_and_ids_translate_into_each_other()
    {
        Tokenizer tokenizer = TestTokenizers.Load("qwen3");

        for (int id = 0; id < tokenizer.VocabularySize; id++)
        {
            string token = Assert.IsType<string>(tokenizer.IdToToken(id));
            Assert.Equal(id, tokenizer.TokenToId(token));
        }

        Assert.Null(tokenizer.IdToToken(-1));
        Assert.Null(tokenizer.IdToToken(tokenizer.VocabularySize));
        Assert.Null(tokenizer.TokenToId("no such token"));
    }

    [Fact]
    public void Special_tokens_are_those_that_the_file_marks()
    {
        Tokenizer tokenizer = TestTokenizers.Load("qwen3");

        Assert.Equal(14, tokenizer.SpecialIds.Count);
        Assert.True(tokenizer.IsSpecial(tokenizer.TokenToId("<|im_end|>")!.Value));
        Assert.False(tokenizer.IsSpecial(tokenizer.TokenToId("<think>")!.Value));
    }
}
