using System.Buffers;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using InferenceServer.Cpu.Simd;
using InferenceServer.Cpu.Training;
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
        if (a is { IsStored: true, Factor: 1, Type: DType.BF16 } && format == WeightFormat.BF16)
        {
            // Bits as they are, only moved.
            fixed (byte* bits = a.Stored(0, checked(a.Rows * a.Columns)))
            {
                PackA<ushort>((ushort*)bits, a.Rows, a.Columns, format, target);
            }
        }
        else if (a is { IsStored: true, Factor: 1, Type: DType.F32 })
        {
            fixed (byte* values = a.Stored(0, checked(a.Rows * a.Columns)))
            {
                PackA<float>((float*)values, a.Rows, a.Columns, format, target);
            }
        }
        else
        {
            fixed (float* values = a.Values)
            {
                PackA<float>(values, a.Rows, a.Columns, format, target);
            }
        }
    }

    /// <summary>Lays out B <c>[out, R]</c>.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void PackB(HostMatrix b, WeightFormat format, byte* target)
    {
        // Some ranks of a run's outputs, so that any rank fits on the stack.
        const int Ranks = 32;
        float* runs = stackalloc float[Ranks * Run];
        float[] outputs = ArrayPool<float>.Shared.Rent(Run * b.Columns);
        fixed (float* values = outputs)
        {
            for (int output = 0; output < b.Rows; output += Run)
            {
                int count = Math.Min(Run, b.Rows - output);
                b.Read((long)output * b.Columns, outputs.AsSpan(0, count * b.Columns));
                if (count < Run)
                {
                    new Span<float>(runs, Ranks * Run).Clear();
                }

                for (int first = 0; first < b.Columns; first += Ranks)
                {
                    int ranks = Math.Min(Ranks, b.Columns - first);
                    TransposeBlock.Run(values + first, b.Columns, count, ranks, runs, Run);
                    for (int rank = 0; rank < ranks; rank++)
                    {
                        target = WriteRun(runs + (rank * Run), format, target);
                    }
                }
            }
        }

        ArrayPool<float>.Shared.Return(outputs);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void PackA<T>(T* values, int ranks, int inputs, WeightFormat format, byte* target)
        where T : unmanaged
    {
        T* padded = stackalloc T[Run];
        for (int first = 0, block; first < ranks; first += block)
        {
            block = BlockRanks(ranks - first);
            for (int input = 0; input < inputs; input += Run)
            {
                int count = Math.Min(Run, inputs - input);
                for (int rank = first; rank < first + block; rank++)
                {
                    T* source = values + ((nint)rank * inputs) + input;
                    if (count < Run)
                    {
                        new Span<T>(padded, Run).Clear();
                        new Span<T>(source, count).CopyTo(new Span<T>(padded, Run));
                        source = padded;
                    }

                    target = typeof(T) == typeof(ushort) ? WriteRun((ushort*)source, target) : WriteRun((float*)source, format, target);
                }
            }
        }
    }

    // A run that is BF16 already.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static byte* WriteRun(ushort* bits, byte* target)
    {
        for (int i = 0; i < Half; i += Vector128<ushort>.Count)
        {
            Vector256<uint> low = Vector256.WidenLower(Vector128.Load(bits + i).ToVector256Unsafe());
            Vector256<uint> high = Vector256.WidenLower(Vector128.Load(bits + Half + i).ToVector256Unsafe());
            (low | (high << 16)).Store((uint*)target + i);
        }

        return target + (Run * sizeof(ushort));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static byte* WriteRun(float* values, WeightFormat format, byte* target)
    {
        if (format == WeightFormat.F32)
        {
            new ReadOnlySpan<float>(values, Run).CopyTo(new Span<float>(target, Run));
            return target + (Run * sizeof(float));
        }

        // Half is two vectors: each of the first half meets the one of the second half that lies as far in.
        for (int i = 0; i < Half; i += Vector256<float>.Count)
        {
            Vector256<uint> low = BFloat16Rounding.Round(Vector256.Load(values + i));
            Vector256<uint> high = BFloat16Rounding.Round(Vector256.Load(values + Half + i));
            (low | (high << 16)).Store((uint*)target + i);
        }

        return target + (Run * sizeof(ushort));
    }
}
