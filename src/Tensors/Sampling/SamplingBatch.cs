namespace InferenceServer.Tensors.Sampling;

/// <summary>How the tokens of a step are drawn, one entry for each row of logits. Reused from step to step.</summary>
public sealed class SamplingBatch
{
    private SamplingRow[] _rows = new SamplingRow[16];
    private int[] _tokens = new int[4096]; // grows to the longest histories seen
    private KeyValuePair<int, float>[] _biases = new KeyValuePair<int, float>[16];
    private int _rowCount;
    private int _tokenCount;
    private int _biasCount;

    /// <summary>In the order of the logits.</summary>
    public ReadOnlySpan<SamplingRow> Rows => _rows.AsSpan(0, _rowCount);

    /// <summary>The tokens of all rows.</summary>
    public ReadOnlySpan<int> Tokens => _tokens.AsSpan(0, _tokenCount);

    /// <summary>Token ids and what is added to their logits, of all rows.</summary>
    public ReadOnlySpan<KeyValuePair<int, float>> Biases => _biases.AsSpan(0, _biasCount);

    public void Clear()
    {
        _rowCount = 0;
        _tokenCount = 0;
        _biasCount = 0;
    }

    /// <summary>Leaves a row of logits out: nothing is drawn from it, and it stays as it is.</summary>
    public void AddLeftOut() => Append(default);

    /// <summary>Adds a row of logits to be drawn from.</summary>
    /// <param name="row">How; its places in the lists are filled in here.</param>
    /// <param name="prompt">Tokens of the prompt, where the repetition penalty looks at them.</param>
    /// <param name="output">Tokens of the output, where a penalty looks at them.</param>
    /// <param name="banned">Tokens that must not be drawn.</param>
    /// <param name="biases">Token ids, each once, and what is added to their logits.</param>
    public void Add(
        in SamplingRow row,
        ReadOnlySpan<int> prompt = default,
        ReadOnlySpan<int> output = default,
        ReadOnlySpan<int> banned = default,
        ReadOnlySpan<KeyValuePair<int, float>> biases = default)
    {
        Append(row with
        {
            IsDrawn = true,
            FirstToken = _tokenCount,
            PromptCount = prompt.Length,
            OutputCount = output.Length,
            BannedCount = banned.Length,
            FirstBias = _biasCount,
            BiasCount = biases.Length,
        });
        Append(prompt, ref _tokens, ref _tokenCount);
        Append(output, ref _tokens, ref _tokenCount);
        Append(banned, ref _tokens, ref _tokenCount);
        Append(biases, ref _biases, ref _biasCount);
    }

    private void Append(in SamplingRow row) => Append([row], ref _rows, ref _rowCount);

    private static void Append<T>(ReadOnlySpan<T> values, ref T[] list, ref int count)
    {
        if (count + values.Length > list.Length)
        {
            Array.Resize(ref list, Math.Max(list.Length * 2, count + values.Length));
        }

        values.CopyTo(list.AsSpan(count));
        count += values.Length;
    }
}
