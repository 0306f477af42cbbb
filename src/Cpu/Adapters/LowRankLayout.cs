using InferenceServer.Tensors;
using InferenceServer.Tensors.Adapters;

namespace InferenceServer.Cpu.Adapters;

/// <summary>
/// Where the A and B of a low-rank change keep their elements: each lies in the order in which its multiplication walks over it, so that
/// an adapter is one stream through memory.
/// </summary>
/// <remarks>
/// Both are made of runs of 32 neighbours, inputs of A or outputs of B. F32 stores a run as it is; BF16 as 16 pairs, the first half of the
/// run in the low and the second in the high 16 bits, so that one load and a shift or a mask widen them. A: ranks in blocks
/// (<see cref="BlockRanks"/>), <c>[blocks][in/32][ranks of the block][32]</c>. B: <c>[out/32][R][32]</c>. Zeros fill the last runs.
/// </remarks>
internal static unsafe class LowRankLayout
{
    /// <summary>Elements of a run.</summary>
    public const int Run = 32;

    /// <summary>Pairs of a BF16 run.</summary>
    public const int Half = Run / 2;

    private const int WidestBlock = 8;
    private const int NarrowBlock = 4;

    /// <summary>Ranks of A that the next block takes of those that are left: 8, then 4, then one at a time.</summary>
    public static int BlockRanks(int left) => left >= WidestBlock ? WidestBlock : left >= NarrowBlock ? NarrowBlock : 1;

    /// <summary>Most blocks of so many ranks.</summary>
    public static int MaxBlocks(int ranks) => (ranks / WidestBlock) + NarrowBlock;

    /// <summary>Rounded up to whole runs.</summary>
    public static int RoundUp(int count) => (count + Run - 1) / Run * Run;

    /// <summary>Bytes of an A with so many inputs, or a B with so many outputs; 0 for rank 0.</summary>
    public static long ByteCount(int ranks, int length, WeightFormat format) =>
        (long)ranks * RoundUp(length) * (format == WeightFormat.F32 ? sizeof(float) : sizeof(ushort));

    /// <summary>Reads A's element of a rank and an input.</summary>
    public static float ReadA(byte* a, int ranks, int inputs, WeightFormat format, int rank, int input)
    {
        int first = 0;
        int block = BlockRanks(ranks);
        while (rank >= first + block)
        {
            first += block;
            block = BlockRanks(ranks - first);
        }

        long run = ((long)first * (RoundUp(inputs) / Run)) + ((long)(input / Run) * block) + (rank - first);
        int place = input % Run;
        return format == WeightFormat.F32
            ? ((float*)a)[(run * Run) + place]
            : BFloat16.ToSingle(((ushort*)a)[(run * Run) + (place < Half ? 2 * place : (2 * (place - Half)) + 1)]);
    }

    /// <summary>Lays out A <c>[R, in]</c>.</summary>
    public static void PackA(HostMatrix a, WeightFormat format, byte* target)
    {
        Span<float> run = stackalloc float[Run];
        for (int first = 0, block; first < a.Rows; first += block)
        {
            block = BlockRanks(a.Rows - first);
            for (int input = 0; input < a.Columns; input += Run)
            {
                int count = Math.Min(Run, a.Columns - input);
                run[count..].Clear();
                for (int rank = first; rank < first + block; rank++)
                {
                    a.Row(rank).Slice(input, count).CopyTo(run);
                    target = WriteRun(run, format, target);
                }
            }
        }
    }

    /// <summary>Lays out B <c>[out, R]</c>.</summary>
    public static void PackB(HostMatrix b, WeightFormat format, byte* target)
    {
        Span<float> run = stackalloc float[Run];
        for (int output = 0; output < b.Rows; output += Run)
        {
            int count = Math.Min(Run, b.Rows - output);
            run[count..].Clear();
            for (int rank = 0; rank < b.Columns; rank++)
            {
                for (int i = 0; i < count; i++)
                {
                    run[i] = b.Values[((output + i) * b.Columns) + rank];
                }

                target = WriteRun(run, format, target);
            }
        }
    }

    private static byte* WriteRun(ReadOnlySpan<float> values, WeightFormat format, byte* target)
    {
        if (format == WeightFormat.F32)
        {
            values.CopyTo(new Span<float>(target, Run));
            return target + (Run * sizeof(float));
        }

        uint* pairs = (uint*)target;
        for (int i = 0; i < Half; i++)
        {
            pairs[i] = BFloat16.FromSingle(values[i]) | ((uint)BFloat16.FromSingle(values[Half + i]) << 16);
        }

        return target + (Run * sizeof(ushort));
    }
}
