using InferenceServer.Models.Tokenization;

namespace InferenceServer.Training.Data;

/// <summary>
/// Tokens and labels of a sample, put together part by part. What stands before a learnt part has the very tokens that serving makes of it
/// as a prompt, also where the whole text would join letters across the border.
/// </summary>
internal sealed class SampleTokens(Tokenizer tokenizer, bool addsSpecialTokens)
{
    private readonly List<int> _tokens = [];
    private readonly List<int> _labels = [];
    private Range _answer;

    /// <summary>All parts so far.</summary>
    public string Text { get; private set; } = "";

    public int Count => _tokens.Count;

    public int LastToken => _tokens[^1];

    public void Append(string part, bool isLearnt)
    {
        int first = _tokens.Count;
        Text += part;
        IReadOnlyList<int> whole = tokenizer.EncodeToIds(Text, addsSpecialTokens);
        bool goesOn = whole.Take(_tokens.Count).SequenceEqual(_tokens);
        foreach (int token in goesOn ? whole.Skip(_tokens.Count) : tokenizer.EncodeToIds(part, addSpecialTokens: false))
        {
            Append(token, isLearnt);
        }

        _answer = isLearnt ? first.._tokens.Count : _answer;
    }

    public void Append(int token, bool isLearnt)
    {
        _tokens.Add(token);
        _labels.Add(isLearnt ? token : SupervisedSequence.Ignored);
    }

    /// <summary>The first tokens, with the labels of the learnt ones; the last learnt part answers what stands before it.</summary>
    public SupervisedSequence ToSequence(int maxTokens, int line)
    {
        int[] all = [.. _tokens];
        int start = _answer.Start.Value;
        return new SupervisedSequence(all.Length > maxTokens ? all[..maxTokens] : all, [.. _labels.Take(maxTokens)])
        {
            Question = start > 0 && start < maxTokens
                ? new SampleQuestion(all.AsMemory(0, start), all.AsMemory(_answer), line)
                : null,
        };
    }
}
