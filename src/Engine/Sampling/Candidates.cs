using System.Numerics.Tensors;

namespace InferenceServer.Engine.Sampling;

/// <summary>
/// The tokens that may still be drawn, with weights <c>exp(logit - max)</c>. Filters drop tokens; none sorts the whole vocabulary unless
/// the distribution is so flat that it must. Scratch is kept between calls.
/// </summary>
internal sealed class Candidates
{
    private readonly int[] _ids;
    private readonly float[] _weights;
    private readonly float[] _heap;
    private readonly ulong[] _keys;
    private int _count;

    public Candidates(int vocabularySize)
    {
        _ids = new int[vocabularySize];
        _weights = new float[vocabularySize];
        _heap = new float[vocabularySize];
        _keys = new ulong[vocabularySize];
    }

    public ReadOnlySpan<int> Ids => _ids.AsSpan(0, _count);

    public ReadOnlySpan<float> Weights => _weights.AsSpan(0, _count);

    /// <summary>Takes the k tokens with the largest logits, and all that equal the k-th (as transformers does); 0 takes all.</summary>
    /// <param name="logits">All finite or minus infinity.</param>
    /// <param name="maximum">The largest logit.</param>
    /// <param name="topK">k.</param>
    public void Take(ReadOnlySpan<float> logits, float maximum, int topK)
    {
        float threshold = topK > 0 && topK < logits.Length ? KthLargest(logits, topK) : float.NegativeInfinity;
        _count = 0;
        for (int id = 0; id < logits.Length; id++)
        {
            if (logits[id] >= threshold && logits[id] > float.NegativeInfinity)
            {
                _ids[_count] = id;
                _weights[_count++] = logits[id] - maximum;
            }
        }

        Span<float> weights = _weights.AsSpan(0, _count);
        TensorPrimitives.Exp(weights, weights);
    }

    /// <summary>
    /// Keeps the smallest set of most probable tokens whose mass reaches <paramref name="mass"/>; of equal ones the lower ids. They keep their
    /// order.
    /// </summary>
    /// <param name="logits">What <see cref="Take"/> took: two of them may have one weight and still differ.</param>
    /// <param name="mass">p.</param>
    public void KeepTopP(ReadOnlySpan<float> logits, float mass)
    {
        double total = Total();

        // All tokens below (1 - p) / n together weigh less than 1 - p, so none of them can be in the set: leave them out of the sort.
        double floor = (1.0 - mass) * total / _count;
        int kept = 0;
        for (int i = 0; i < _count; i++)
        {
            if (_weights[i] >= floor)
            {
                _keys[kept++] = Key(logits[_ids[i]], i);
            }
        }

        Span<ulong> keys = _keys.AsSpan(0, kept);
        keys.Sort();
        double before = 0;
        int count = 0;
        while (count < kept && (count == 0 || before < mass * total))
        {
            before += _weights[(uint)keys[count++]];
        }

        KeepPlaces(keys[..count]);
    }

    /// <summary>Drops what is less probable than <paramref name="share"/> times the most probable.</summary>
    public void KeepMinP(float share)
    {
        float floor = share * TensorPrimitives.Max(Weights);
        int kept = 0;
        for (int i = 0; i < _count; i++)
        {
            if (_weights[i] >= floor)
            {
                _ids[kept] = _ids[i];
                _weights[kept++] = _weights[i];
            }
        }

        _count = kept;
    }

    /// <summary>
    /// Locally typical sampling (Meister et al. 2022): keeps the tokens whose surprise is nearest to the entropy until their mass reaches
    /// <paramref name="mass"/>, and all as near as the last of them.
    /// </summary>
    public void KeepTypical(float mass)
    {
        double total = Total();
        double entropy = 0;
        for (int i = 0; i < _count; i++)
        {
            double p = _weights[i] / total;
            entropy -= p > 0 ? p * Math.Log(p) : 0;
        }

        for (int i = 0; i < _count; i++)
        {
            float distance = (float)Math.Abs(-Math.Log(_weights[i] / total) - entropy);
            _keys[i] = ((ulong)BitConverter.SingleToUInt32Bits(distance) << 32) | (uint)i;
        }

        Span<ulong> keys = _keys.AsSpan(0, _count);
        keys.Sort();
        double sum = 0;
        int last = 0;
        for (; last < keys.Length - 1; last++)
        {
            sum += _weights[(uint)keys[last]] / total;
            if (sum >= mass)
            {
                break;
            }
        }

        // By distance, not by rank: tokens as near as the last one stay too.
        uint limit = (uint)(keys[last] >> 32);
        int count = last + 1;
        while (count < keys.Length && (uint)(keys[count] >> 32) == limit)
        {
            count++;
        }

        KeepPlaces(keys[..count]);
    }

    /// <summary>Draws a token by its weight.</summary>
    /// <param name="uniform">In [0, 1).</param>
    public int Draw(double uniform)
    {
        double target = uniform * Total();
        double sum = 0;
        int last = 0;
        for (int i = 0; i < _count; i++)
        {
            if (_weights[i] > 0)
            {
                last = i;
                sum += _weights[i];
                if (sum > target)
                {
                    break;
                }
            }
        }

        return _ids[last];
    }

    private double Total()
    {
        double total = 0;
        foreach (float weight in Weights)
        {
            total += weight;
        }

        return total;
    }

    // Sorts as logits do downwards, then as places do upwards. A float's bits sort as it does once those of negative ones are inverted.
    private static ulong Key(float logit, int place)
    {
        uint bits = BitConverter.SingleToUInt32Bits(logit + 0f); // -0 is 0
        uint ascending = (bits & 0x80000000) != 0 ? ~bits : bits | 0x80000000;
        return ((ulong)~ascending << 32) | (uint)place;
    }

    // Keeps the candidates whose places are the low words of keys, in their old order: elements only move down.
    private void KeepPlaces(Span<ulong> keys)
    {
        for (int i = 0; i < keys.Length; i++)
        {
            keys[i] = (uint)keys[i];
        }

        keys.Sort();
        _count = 0;
        foreach (ulong place in keys)
        {
            _ids[_count] = _ids[(int)place];
            _weights[_count++] = _weights[(int)place];
        }
    }

    // The k-th largest: a heap of the k largest so far with the smallest of them on top; most logits fail the first comparison.
    private float KthLargest(ReadOnlySpan<float> logits, int k)
    {
        Span<float> heap = _heap.AsSpan(0, k);
        logits[..k].CopyTo(heap);
        for (int i = (k / 2) - 1; i >= 0; i--)
        {
            SiftDown(heap, i);
        }

        for (int i = k; i < logits.Length; i++)
        {
            if (logits[i] > heap[0])
            {
                heap[0] = logits[i];
                SiftDown(heap, 0);
            }
        }

        return heap[0];
    }

    private static void SiftDown(Span<float> heap, int place)
    {
        float value = heap[place];
        while (true)
        {
            int child = (2 * place) + 1;
            if (child >= heap.Length)
            {
                break;
            }

            if (child + 1 < heap.Length && heap[child + 1] < heap[child])
            {
                child++;
            }

            if (heap[child] >= value)
            {
                break;
            }

            heap[place] = heap[child];
            place = child;
        }

        heap[place] = value;
    }
}
