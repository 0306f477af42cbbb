namespace InferenceServer.Cpu.Kernels;

/// <summary>Scratch of one row block and kv head in attention: n queries (rows times the query heads that share the kv head).</summary>
internal readonly unsafe struct AttentionWork
{
    private const int Lanes = 16;

    public AttentionWork(float* memory, int queries, int headSize, int valueStride, int keyStride, int chunkKeys)
    {
        ScorePadding = keyStride;
        ScoreStride = keyStride + chunkKeys + keyStride + Lanes;
        ValueStride = valueStride + Lanes;
        Queries = memory;
        Scores = Queries + RoundUp(queries * headSize);
        ChunkValues = Scores + (queries * ScoreStride);
        Values = ChunkValues + (queries * ValueStride);
        ChunkMaxima = Values + (queries * ValueStride);
        ChunkSums = ChunkMaxima + RoundUp(queries);
        Maxima = ChunkSums + RoundUp(queries);
        Sums = Maxima + RoundUp(queries);
    }

    /// <summary>The queries, <c>[n][D]</c>.</summary>
    public float* Queries { get; }

    /// <summary>Scores of one chunk, then its probabilities: <c>[n][ScoreStride]</c>, key 0 of the chunk at <see cref="ScorePadding"/>.</summary>
    public float* Scores { get; }

    /// <summary>Floats before the first key of a chunk, for blocks that begin before it; as many and 16 more follow the last key.</summary>
    public int ScorePadding { get; }

    public int ScoreStride { get; }

    /// <summary>Weighted values of one chunk, <c>[n][ValueStride]</c>; 16 floats behind each row take what nobody wants.</summary>
    public float* ChunkValues { get; }

    public int ValueStride { get; }

    /// <summary>Weighted values of the chunks so far, <c>[n][ValueStride]</c>.</summary>
    public float* Values { get; }

    /// <summary>Largest score of a query in the chunk; minus infinity when it sees none of its keys.</summary>
    public float* ChunkMaxima { get; }

    /// <summary>Sum of the chunk's probabilities.</summary>
    public float* ChunkSums { get; }

    /// <summary>Largest score of the chunks so far.</summary>
    public float* Maxima { get; }

    /// <summary>Sum of the probabilities of the chunks so far.</summary>
    public float* Sums { get; }

    /// <summary>Floats that the scratch needs.</summary>
    public static long FloatCount(int queries, int headSize, int valueStride, int keyStride, int chunkKeys) =>
        RoundUp(queries * headSize) + ((long)queries * ((2 * keyStride) + chunkKeys + Lanes)) + (2L * queries * (valueStride + Lanes))
        + (4L * RoundUp(queries));

    private static int RoundUp(int count) => (count + Lanes - 1) / Lanes * Lanes;
}
