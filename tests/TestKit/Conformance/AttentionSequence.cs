using InferenceServer.Tensors;
using InferenceServer.Tensors.Steps;
using InferenceServer.TestKit.ReferenceMaths;

namespace InferenceServer.TestKit.Conformance;

/// <summary>Queries, keys and values of all positions of one sequence, and ways to take them through a backend.</summary>
/// <param name="Q"><c>[tokens, Q * D]</c>.</param>
/// <param name="K"><c>[tokens, K * D]</c>.</param>
/// <param name="V"><c>[tokens, K * D]</c>.</param>
public sealed record AttentionSequence(HostTensor Q, HostTensor K, HostTensor V)
{
    /// <summary>Numbers in -2 .. 2.</summary>
    public static AttentionSequence Random(AttentionParameters parameters, int tokens, int seed) => new(
        HostTensor.Random(tokens, parameters.Heads * parameters.HeadSize, seed, 2),
        HostTensor.Random(tokens, parameters.KvHeads * parameters.HeadSize, seed + 100, 2),
        HostTensor.Random(tokens, parameters.KvHeads * parameters.HeadSize, seed + 200, 2));

    /// <summary>The reference's result, over keys and values as a cache of a format keeps them.</summary>
    public double[] Reference(AttentionParameters parameters, WeightFormat format) =>
        ReferenceMaths.Reference.Attention(Q, Kept(K, format), Kept(V, format), parameters);

    /// <summary>Computes the sequence chunk by chunk, a step each, in the cache's last layer.</summary>
    public float[] Attend(IComputeBackend backend, KvCache cache, AttentionParameters parameters, int[] chunks, int[] blocks)
    {
        List<float> results = [];
        StepInputs step = new(Q.Rows, 1);
        int first = 0;
        foreach (int chunk in chunks)
        {
            results.AddRange(AttendStep(backend, cache, parameters, step, [(this, first, chunk, blocks)]));
            first += chunk;
        }

        Xunit.Assert.Equal(Q.Rows, first);
        return [.. results];
    }

    /// <summary>The same in a cache of its own.</summary>
    /// <param name="backend">The backend.</param>
    /// <param name="parameters">The attention.</param>
    /// <param name="blockSize">Tokens of a block.</param>
    /// <param name="chunks">Tokens of each step.</param>
    /// <param name="scattered">Whether the blocks are in no order.</param>
    public float[] Attend(IComputeBackend backend, AttentionParameters parameters, int blockSize, int[] chunks, bool scattered)
    {
        int count = (Q.Rows + blockSize - 1) / blockSize;
        int[] blocks = [.. Enumerable.Range(0, count)];
        if (scattered)
        {
            new Random(11).Shuffle(blocks);
        }

        KvCacheShape shape = new(2, count, blockSize, parameters.KvHeads, parameters.HeadSize, backend.KeyValueFormat);
        using KvCache cache = backend.CreateKvCache(shape);
        return Attend(backend, cache, parameters, chunks, blocks);
    }

    /// <summary>Computes one step with a part of each of several sequences, in the cache's last layer.</summary>
    public static float[] AttendStep(
        IComputeBackend backend,
        KvCache cache,
        AttentionParameters parameters,
        StepInputs step,
        (AttentionSequence Sequence, int First, int Count, int[] Blocks)[] parts)
    {
        step.Clear();
        foreach ((_, int first, int count, int[] blocks) in parts)
        {
            step.AddSequence(new int[count], first, blocks);
        }

        backend.BeginStep(step);
        int layer = cache.Shape.Layers - 1;
        using GuardedTensor q = new(backend, Join(parts.Select(part => part.Sequence.Q.Slice(part.First, part.Count))));
        using GuardedTensor k = new(backend, Join(parts.Select(part => part.Sequence.K.Slice(part.First, part.Count))));
        using GuardedTensor v = new(backend, Join(parts.Select(part => part.Sequence.V.Slice(part.First, part.Count))));
        using GuardedTensor y = new(backend, q.View.Rows, q.View.Columns);
        backend.StoreKv(k.View, v.View, cache, layer);
        backend.PagedAttention(q.View, cache, layer, parameters, y.View);
        return y.Read();
    }

    /// <summary>Stores the first tokens' keys and values in the cache's last layer, without computing anything.</summary>
    public void Store(IComputeBackend backend, KvCache cache, int tokens, int[] blocks)
    {
        StepInputs step = new(tokens, 1);
        step.AddSequence(new int[tokens], 0, blocks);
        backend.BeginStep(step);
        using GuardedTensor k = new(backend, K.Slice(0, tokens));
        using GuardedTensor v = new(backend, V.Slice(0, tokens));
        backend.StoreKv(k.View, v.View, cache, cache.Shape.Layers - 1);
    }

    private static HostTensor Kept(HostTensor values, WeightFormat format) => format == WeightFormat.BF16 ? values.RoundedToBFloat16() : values;

    private static HostTensor Join(IEnumerable<HostTensor> parts)
    {
        HostTensor[] all = [.. parts];
        HostTensor joined = new(all.Sum(part => part.Rows), all[0].Columns);
        int at = 0;
        foreach (HostTensor part in all)
        {
            part.Values.CopyTo(joined.Values, at);
            at += part.Values.Length;
        }

        return joined;
    }
}
