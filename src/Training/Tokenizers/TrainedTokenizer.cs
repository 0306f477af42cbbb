using System.Text.Encodings.Web;
using System.Text.Json;
using InferenceServer.Models.Tokenization;

namespace InferenceServer.Training.Tokenizers;

/// <summary>A trained tokenizer, to be written as Hugging Face's files.</summary>
public sealed class TrainedTokenizer
{
    private static readonly JsonSerializerOptions s_indented =
        new() { WriteIndented = true, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    private readonly TokenizerRecipe _recipe;

    internal TrainedTokenizer(TokenizerRecipe recipe, IReadOnlyList<string> tokens, IReadOnlyList<(int Left, int Right)> merges)
    {
        _recipe = recipe;
        Tokens = tokens;
        Merges = merges;
    }

    /// <summary>Every token by its id, in the byte alphabet: special ones, bytes, then merged ones in the order they were learnt.</summary>
    public IReadOnlyList<string> Tokens { get; }

    /// <summary>The ids that were merged, in order; the i-th made token <c>Tokens[first merged + i]</c>.</summary>
    public IReadOnlyList<(int Left, int Right)> Merges { get; }

    /// <summary>Writes tokenizer.json and tokenizer_config.json into a folder, which is made when it is missing.</summary>
    public void Write(string folder)
    {
        Directory.CreateDirectory(folder);
        File.WriteAllText(Path.Combine(folder, Tokenizer.FileName), TokenizerJson.Tokenizer(_recipe, Tokens, Merges).ToJsonString(s_indented) + "\n");
        File.WriteAllText(Path.Combine(folder, "tokenizer_config.json"), TokenizerJson.Configuration(_recipe).ToJsonString(s_indented) + "\n");
    }
}
