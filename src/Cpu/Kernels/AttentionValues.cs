using System.Runtime.CompilerServices;
using InferenceServer.Cpu.Simd;

namespace InferenceServer.Cpu.Kernels;

/// <summary>
/// Adds weighted values to the sums of queries: <c>sums[n, d] += sum over keys of weights[n, key] * values[key, d]</c>, a lane for each d,
/// one chain of multiply-adds in the order of the keys whatever is computed beside it.
/// </summary>
/// <remarks>
/// The sums stay in registers across the blocks of a chunk. While one block is read the kernel asks for the block <see cref="Ahead"/>
/// places later in the list.
/// </remarks>
internal static unsafe class AttentionValues<TSimd, TVector>
    where TSimd : struct, ISimd<TVector>
    where TVector : struct
{
    /// <summary>Places beyond the last block that the list must have.</summary>
    public const int Ahead = 2;

    /// <summary>Queries that share a load of values.</summary>
    public const int MostQueries = 4;

    private const int Vectors = 4;

    /// <param name="queries">Queries n.</param>
    /// <param name="weights">Weights of the first query, from the first key on.</param>
    /// <param name="weightStride">Floats from one query's weights to the next.</param>
    /// <param name="blocks">Values of the blocks that hold the keys, the first of them first, and <see cref="Ahead"/> more places to ask for.</param>
    /// <param name="blockSize">Keys of a block.</param>
    /// <param name="slot">Place of the first key in the first block.</param>
    /// <param name="count">Keys.</param>
    /// <param name="valueStride">Floats from one key's values to the next, and of them to sum; a multiple of 16.</param>
    /// <param name="sums">Sums, <c>[n][sumStride]</c>.</param>
    /// <param name="sumStride">Floats from one query's sums to the next.</param>
    public static void Add(
        int queries, float* weights, nint weightStride, float** blocks, int blockSize, int slot, int count, int valueStride, float* sums, nint sumStride)
    {
        while (queries > 0)
        {
            int at = 0;
            int taken = TSimd.MaxRows >= 8 && queries >= MostQueries ? MostQueries : queries >= 2 ? 2 : 1;
            for (; at <= valueStride - (Vectors * TSimd.Count); at += Vectors * TSimd.Count)
            {
                switch (taken)
                {
                    case MostQueries:
                        Queries4(weights, weightStride, blocks, blockSize, slot, count, valueStride, at, sums + at, sumStride);
                        break;
                    case 2:
                        Queries2(weights, weightStride, blocks, blockSize, slot, count, valueStride, at, sums + at, sumStride);
                        break;
                    default:
                        Queries1(weights, weightStride, blocks, blockSize, slot, count, valueStride, at, sums + at, sumStride);
                        break;
                }
            }

            for (; at < valueStride; at += TSimd.Count)
            {
                for (int query = 0; query < taken; query++)
                {
                    OneVector(weights + (query * weightStride), blocks, blockSize, slot, count, valueStride, at, sums + (query * sumStride) + at);
                }
            }

            queries -= taken;
            weights += taken * weightStride;
            sums += taken * sumStride;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void OneVector(
        float* weights, float** blocks, int blockSize, int slot, int count, nint valueStride, nint at, float* sums)
    {
        TVector a = TSimd.Load(sums);
        for (int key = 0; key < count; blocks++)
        {
            float* values = blocks[0] + (slot * valueStride) + at;
            nint ahead = (nint)(blocks[Ahead] - blocks[0]);
            int end = Math.Min(count, key + blockSize - slot);
            slot = 0;
            for (; key < end; key++)
            {
                SoftwarePrefetch.At(values + ahead);
                a = TSimd.MultiplyAdd(TSimd.Load(values), TSimd.Broadcast(weights[key]), a);
                values += valueStride;
            }
        }

        TSimd.Store(a, sums);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Queries1(
        float* weights, nint weightStride, float** blocks, int blockSize, int slot, int count, nint valueStride, nint at, float* sums, nint sumStride)
    {
        TVector a00 = TSimd.Load(sums);
        TVector a01 = TSimd.Load(sums + TSimd.Count);
        TVector a02 = TSimd.Load(sums + (2 * TSimd.Count));
        TVector a03 = TSimd.Load(sums + (3 * TSimd.Count));
        for (int key = 0; key < count; blocks++)
        {
            float* values = blocks[0] + (slot * valueStride) + at;
            nint ahead = (nint)(blocks[Ahead] - blocks[0]);
            int end = Math.Min(count, key + blockSize - slot);
            slot = 0;
            for (; key < end; key++)
            {
                SoftwarePrefetch.At(values + ahead);
                SoftwarePrefetch.At(values + ahead + TSimd.Count);
                SoftwarePrefetch.At(values + ahead + (2 * TSimd.Count));
                SoftwarePrefetch.At(values + ahead + (3 * TSimd.Count));
                TVector v0 = TSimd.Load(values);
                TVector v1 = TSimd.Load(values + TSimd.Count);
                TVector v2 = TSimd.Load(values + (2 * TSimd.Count));
                TVector v3 = TSimd.Load(values + (3 * TSimd.Count));
                values += valueStride;
                TVector s = TSimd.Broadcast(weights[key]);
                a00 = TSimd.MultiplyAdd(v0, s, a00);
                a01 = TSimd.MultiplyAdd(v1, s, a01);
                a02 = TSimd.MultiplyAdd(v2, s, a02);
                a03 = TSimd.MultiplyAdd(v3, s, a03);
            }
        }

        TSimd.Store(a00, sums);
        TSimd.Store(a01, sums + TSimd.Count);
        TSimd.Store(a02, sums + (2 * TSimd.Count));
        TSimd.Store(a03, sums + (3 * TSimd.Count));
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Queries2(
        float* weights, nint weightStride, float** blocks, int blockSize, int slot, int count, nint valueStride, nint at, float* sums, nint sumStride)
    {
        TVector a00 = TSimd.Load(sums);
        TVector a01 = TSimd.Load(sums + TSimd.Count);
        TVector a02 = TSimd.Load(sums + (2 * TSimd.Count));
        TVector a03 = TSimd.Load(sums + (3 * TSimd.Count));
        float* sums1 = sums + sumStride;
        TVector a10 = TSimd.Load(sums1);
        TVector a11 = TSimd.Load(sums1 + TSimd.Count);
        TVector a12 = TSimd.Load(sums1 + (2 * TSimd.Count));
        TVector a13 = TSimd.Load(sums1 + (3 * TSimd.Count));
        float* weights1 = weights + weightStride;
        for (int key = 0; key < count; blocks++)
        {
            float* values = blocks[0] + (slot * valueStride) + at;
            nint ahead = (nint)(blocks[Ahead] - blocks[0]);
            int end = Math.Min(count, key + blockSize - slot);
            slot = 0;
            for (; key < end; key++)
            {
                SoftwarePrefetch.At(values + ahead);
                SoftwarePrefetch.At(values + ahead + TSimd.Count);
                SoftwarePrefetch.At(values + ahead + (2 * TSimd.Count));
                SoftwarePrefetch.At(values + ahead + (3 * TSimd.Count));
                TVector v0 = TSimd.Load(values);
                TVector v1 = TSimd.Load(values + TSimd.Count);
                TVector v2 = TSimd.Load(values + (2 * TSimd.Count));
                TVector v3 = TSimd.Load(values + (3 * TSimd.Count));
                values += valueStride;
                TVector s = TSimd.Broadcast(weights[key]);
                a00 = TSimd.MultiplyAdd(v0, s, a00);
                a01 = TSimd.MultiplyAdd(v1, s, a01);
                a02 = TSimd.MultiplyAdd(v2, s, a02);
                a03 = TSimd.MultiplyAdd(v3, s, a03);
                s = TSimd.Broadcast(weights1[key]);
                a10 = TSimd.MultiplyAdd(v0, s, a10);
                a11 = TSimd.MultiplyAdd(v1, s, a11);
                a12 = TSimd.MultiplyAdd(v2, s, a12);
                a13 = TSimd.MultiplyAdd(v3, s, a13);
            }
        }

        TSimd.Store(a00, sums);
        TSimd.Store(a01, sums + TSimd.Count);
        TSimd.Store(a02, sums + (2 * TSimd.Count));
        TSimd.Store(a03, sums + (3 * TSimd.Count));
        TSimd.Store(a10, sums1);
        TSimd.Store(a11, sums1 + TSimd.Count);
        TSimd.Store(a12, sums1 + (2 * TSimd.Count));
        TSimd.Store(a13, sums1 + (3 * TSimd.Count));
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Queries4(
        float* weights, nint weightStride, float** blocks, int blockSize, int slot, int count, nint valueStride, nint at, float* sums, nint sumStride)
    {
        TVector a00 = TSimd.Load(sums);
        TVector a01 = TSimd.Load(sums + TSimd.Count);
        TVector a02 = TSimd.Load(sums + (2 * TSimd.Count));
        TVector a03 = TSimd.Load(sums + (3 * TSimd.Count));
        float* sums1 = sums + sumStride;
        TVector a10 = TSimd.Load(sums1);
        TVector a11 = TSimd.Load(sums1 + TSimd.Count);
        TVector a12 = TSimd.Load(sums1 + (2 * TSimd.Count));
        TVector a13 = TSimd.Load(sums1 + (3 * TSimd.Count));
        float* sums2 = sums + (2 * sumStride);
        TVector a20 = TSimd.Load(sums2);
        TVector a21 = TSimd.Load(sums2 + TSimd.Count);
        TVector a22 = TSimd.Load(sums2 + (2 * TSimd.Count));
        TVector a23 = TSimd.Load(sums2 + (3 * TSimd.Count));
        float* sums3 = sums + (3 * sumStride);
        TVector a30 = TSimd.Load(sums3);
        TVector a31 = TSimd.Load(sums3 + TSimd.Count);
        TVector a32 = TSimd.Load(sums3 + (2 * TSimd.Count));
        TVector a33 = TSimd.Load(sums3 + (3 * TSimd.Count));
        float* weights1 = weights + weightStride;
        float* weights2 = weights + (2 * weightStride);
        float* weights3 = weights + (3 * weightStride);
        for (int key = 0; key < count; blocks++)
        {
            float* values = blocks[0] + (slot * valueStride) + at;
            nint ahead = (nint)(blocks[Ahead] - blocks[0]);
            int end = Math.Min(count, key + blockSize - slot);
            slot = 0;
            for (; key < end; key++)
            {
                SoftwarePrefetch.At(values + ahead);
                SoftwarePrefetch.At(values + ahead + TSimd.Count);
                SoftwarePrefetch.At(values + ahead + (2 * TSimd.Count));
                SoftwarePrefetch.At(values + ahead + (3 * TSimd.Count));
                TVector v0 = TSimd.Load(values);
                TVector v1 = TSimd.Load(values + TSimd.Count);
                TVector v2 = TSimd.Load(values + (2 * TSimd.Count));
                TVector v3 = TSimd.Load(values + (3 * TSimd.Count));
                values += valueStride;
                TVector s = TSimd.Broadcast(weights[key]);
                a00 = TSimd.MultiplyAdd(v0, s, a00);
                a01 = TSimd.MultiplyAdd(v1, s, a01);
                a02 = TSimd.MultiplyAdd(v2, s, a02);
                a03 = TSimd.MultiplyAdd(v3, s, a03);
                s = TSimd.Broadcast(weights1[key]);
                a10 = TSimd.MultiplyAdd(v0, s, a10);
                a11 = TSimd.MultiplyAdd(v1, s, a11);
                a12 = TSimd.MultiplyAdd(v2, s, a12);
                a13 = TSimd.MultiplyAdd(v3, s, a13);
                s = TSimd.Broadcast(weights2[key]);
                a20 = TSimd.MultiplyAdd(v0, s, a20);
                a21 = TSimd.MultiplyAdd(v1, s, a21);
                a22 = TSimd.MultiplyAdd(v2, s, a22);
                a23 = TSimd.MultiplyAdd(v3, s, a23);
                s = TSimd.Broadcast(weights3[key]);
                a30 = TSimd.MultiplyAdd(v0, s, a30);
                a31 = TSimd.MultiplyAdd(v1, s, a31);
                a32 = TSimd.MultiplyAdd(v2, s, a32);
                a33 = TSimd.MultiplyAdd(v3, s, a33);
            }
        }

        TSimd.Store(a00, sums);
        TSimd.Store(a01, sums + TSimd.Count);
        TSimd.Store(a02, sums + (2 * TSimd.Count));
        TSimd.Store(a03, sums + (3 * TSimd.Count));
        TSimd.Store(a10, sums1);
        TSimd.Store(a11, sums1 + TSimd.Count);
        TSimd.Store(a12, sums1 + (2 * TSimd.Count));
        TSimd.Store(a13, sums1 + (3 * TSimd.Count));
        TSimd.Store(a20, sums2);
        TSimd.Store(a21, sums2 + TSimd.Count);
        TSimd.Store(a22, sums2 + (2 * TSimd.Count));
        TSimd.Store(a23, sums2 + (3 * TSimd.Count));
        TSimd.Store(a30, sums3);
        TSimd.Store(a31, sums3 + TSimd.Count);
        TSimd.Store(a32, sums3 + (2 * TSimd.Count));
        TSimd.Store(a33, sums3 + (3 * TSimd.Count));
    }
}
