using System.Text;
using InferenceServer.Models.Tokenization;

namespace InferenceServer.Training.Evaluation;

/// <summary>The text of answers as the server would send it.</summary>
internal sealed class AnswerText(Tokenizer tokenizer, IReadOnlySet<int> endTokens)
{
    // How a tokenizer spaces and joins depends on the tokens before; the server takes as many of the prompt's.
    private const int ContextTokens = 6;

    /// <summary>Text up to the first end token, without special tokens and without space at its end.</summary>
    public string Of(ReadOnlySpan<int> prompt, ReadOnlySpan<int> answer)
    {
        IncrementalDetokenizer detokenizer = new(tokenizer);
        foreach (int token in prompt[^Math.Min(ContextTokens, prompt.Length)..])
        {
            detokenizer.Append(token);
        }

        StringBuilder text = new();
        foreach (int token in answer)
        {
            if (endTokens.Contains(token))
            {
                break;
            }

            text.Append(detokenizer.Append(token));
        }

        return text.Append(detokenizer.Flush()).ToString().TrimEnd();
    }
}
