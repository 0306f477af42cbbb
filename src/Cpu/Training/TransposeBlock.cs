using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace InferenceServer.Cpu.Training;

/// <summary>
/// <c>target[j, i] = source[i, j]</c> of 32-bit elements. Squares of 8 x 8 go through the registers: eight loads, three rounds of
/// interleaving (by 1, by 2, by 4 elements), eight stores; so each side is touched in pieces of 32 bytes. Elements are only moved.
/// </summary>
internal static unsafe class TransposeBlock
{
    private const int Square = 8;

    /// <param name="source">First element; rows of at least <paramref name="columns"/>.</param>
    /// <param name="sourceStride">Elements from one row of the source to the next.</param>
    /// <param name="rows">Rows of the source.</param>
    /// <param name="columns">Columns of the source.</param>
    /// <param name="target">First element; rows of at least <paramref name="rows"/>.</param>
    /// <param name="targetStride">Elements from one row of the target to the next.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Run(float* source, nint sourceStride, int rows, int columns, float* target, nint targetStride)
    {
        int wholeRows = Avx.IsSupported ? rows / Square * Square : 0;
        int wholeColumns = columns / Square * Square;
        for (int j = 0; j < wholeColumns; j += Square)
        {
            for (int i = 0; i < wholeRows; i += Square)
            {
                Square8(source + (i * sourceStride) + j, sourceStride, target + (j * targetStride) + i, targetStride);
            }
        }

        Single(source, sourceStride, 0, wholeRows, wholeColumns, columns, target, targetStride);
        Single(source, sourceStride, wholeRows, rows, 0, columns, target, targetStride);
    }

    private static void Single(
        float* source, nint sourceStride, int fromRow, int toRow, int fromColumn, int toColumn, float* target, nint targetStride)
    {
        for (int i = fromRow; i < toRow; i++)
        {
            for (int j = fromColumn; j < toColumn; j++)
            {
                target[(j * targetStride) + i] = source[(i * sourceStride) + j];
            }
        }
    }

    // Every index stays inside the square, which the caller keeps inside the matrix.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Square8(float* source, nint sourceStride, float* target, nint targetStride)
    {
        Vector256<float> r0 = Vector256.Load(source);
        Vector256<float> r1 = Vector256.Load(source + sourceStride);
        Vector256<float> r2 = Vector256.Load(source + (2 * sourceStride));
        Vector256<float> r3 = Vector256.Load(source + (3 * sourceStride));
        Vector256<float> r4 = Vector256.Load(source + (4 * sourceStride));
        Vector256<float> r5 = Vector256.Load(source + (5 * sourceStride));
        Vector256<float> r6 = Vector256.Load(source + (6 * sourceStride));
        Vector256<float> r7 = Vector256.Load(source + (7 * sourceStride));

        // Pairs of rows by single elements, within each half of 128 bits.
        Vector256<double> a0 = Avx.UnpackLow(r0, r1).AsDouble();
        Vector256<double> a1 = Avx.UnpackHigh(r0, r1).AsDouble();
        Vector256<double> a2 = Avx.UnpackLow(r2, r3).AsDouble();
        Vector256<double> a3 = Avx.UnpackHigh(r2, r3).AsDouble();
        Vector256<double> a4 = Avx.UnpackLow(r4, r5).AsDouble();
        Vector256<double> a5 = Avx.UnpackHigh(r4, r5).AsDouble();
        Vector256<double> a6 = Avx.UnpackLow(r6, r7).AsDouble();
        Vector256<double> a7 = Avx.UnpackHigh(r6, r7).AsDouble();

        // Fours of rows by pairs: b0 holds columns 0 and 4 of rows 0 to 3, b1 columns 1 and 5, and so on.
        Vector256<float> b0 = Avx.UnpackLow(a0, a2).AsSingle();
        Vector256<float> b1 = Avx.UnpackHigh(a0, a2).AsSingle();
        Vector256<float> b2 = Avx.UnpackLow(a1, a3).AsSingle();
        Vector256<float> b3 = Avx.UnpackHigh(a1, a3).AsSingle();
        Vector256<float> b4 = Avx.UnpackLow(a4, a6).AsSingle();
        Vector256<float> b5 = Avx.UnpackHigh(a4, a6).AsSingle();
        Vector256<float> b6 = Avx.UnpackLow(a5, a7).AsSingle();
        Vector256<float> b7 = Avx.UnpackHigh(a5, a7).AsSingle();

        // Halves: the low ones are columns 0 to 3, the high ones 4 to 7.
        Avx.Permute2x128(b0, b4, 0x20).Store(target);
        Avx.Permute2x128(b1, b5, 0x20).Store(target + targetStride);
        Avx.Permute2x128(b2, b6, 0x20).Store(target + (2 * targetStride));
        Avx.Permute2x128(b3, b7, 0x20).Store(target + (3 * targetStride));
        Avx.Permute2x128(b0, b4, 0x31).Store(target + (4 * targetStride));
        Avx.Permute2x128(b1, b5, 0x31).Store(target + (5 * targetStride));
        Avx.Permute2x128(b2, b6, 0x31).Store(target + (6 * targetStride));
        Avx.Permute2x128(b3, b7, 0x31).Store(target + (7 * targetStride));
    }
}
