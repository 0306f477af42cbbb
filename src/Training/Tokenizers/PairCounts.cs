namespace InferenceServer.Training.Tokenizers;

/// <summary>How often each pair of neighbouring symbols is in the words; kept up to date while pairs are merged.</summary>
internal sealed class PairCounts
{
    private readonly List<(List<int> Symbols, long Count)> _words;
    private readonly Dictionary<(int Left, int Right), long> _counts = [];
    private readonly Dictionary<(int Left, int Right), HashSet<int>> _places = [];

    public PairCounts(IEnumerable<(List<int> Symbols, long Count)> words)
    {
        _words = [.. words];
        for (int word = 0; word < _words.Count; word++)
        {
            Count(word, 1);
        }
    }

    /// <summary>The commonest pair, of equally common ones that with the lowest ids; null when all are rarer than asked for.</summary>
    public (int Left, int Right)? Commonest(long least, Func<(int Left, int Right), bool> isAllowed)
    {
        (int Left, int Right)? best = null;
        long most = least;
        foreach (((int Left, int Right) pair, long count) in _counts)
        {
            if ((count > most || (count == most && (best is null || pair.CompareTo(best.Value) < 0))) && isAllowed(pair))
            {
                best = pair;
                most = count;
            }
        }

        return best;
    }

    /// <summary>Makes one symbol of the pair wherever it stands, from the left.</summary>
    public void Merge((int Left, int Right) pair, int merged)
    {
        foreach (int word in _places[pair].ToArray())
        {
            Count(word, -1);
            List<int> symbols = _words[word].Symbols;
            int kept = 0;
            for (int i = 0; i < symbols.Count; i++)
            {
                bool isPair = i + 1 < symbols.Count && symbols[i] == pair.Left && symbols[i + 1] == pair.Right;
                symbols[kept++] = isPair ? merged : symbols[i];
                i += isPair ? 1 : 0;
            }

            symbols.RemoveRange(kept, symbols.Count - kept);
            Count(word, 1);
        }
    }

    private void Count(int word, int sign)
    {
        (List<int> symbols, long count) = _words[word];
        for (int i = 0; i + 1 < symbols.Count; i++)
        {
            (int, int) pair = (symbols[i], symbols[i + 1]);
            long sum = _counts.GetValueOrDefault(pair) + (sign * count);
            if (sum == 0)
            {
                _counts.Remove(pair);
                _places.Remove(pair);
                continue;
            }

            _counts[pair] = sum;
            if (!_places.TryGetValue(pair, out HashSet<int>? places))
            {
                _places.Add(pair, places = []);
            }

            // A word that lost the pair stays listed until the pair is gone; it is looked at again and left as it is.
            places.Add(word);
        }
    }
}
