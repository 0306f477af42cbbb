using System.Numerics;
using Iced.Intel;
using InferenceServer.Cpu.Weights;
using static Iced.Intel.AssemblerRegisters;
using static InferenceServer.Cpu.Emitted.KernelParts;

namespace InferenceServer.Cpu.Emitted;

/// <summary>
/// Up to six rows of bf16 x times 64 columns of bf16 weights by vdpbf16ps, which adds two products to an f32 at once: twice the speed of
/// multiply-adds. <c>c[r, n] = sum over k of x[r, k] * w[k, n]</c>, a chain in the order of k, in each pair the second before the first.
/// </summary>
/// <remarks>
/// Four vectors of columns share each x that is broadcast, six rows each weight that is loaded: 24 accumulators of the 32 registers, and
/// 10 loads for 24 products. See Intel's manual on VDPBF16PS for the order inside a pair; subnormals count as zeros.
/// </remarks>
internal static class BFloat16DotKernels
{
    /// <summary>Most rows of a call.</summary>
    public const int MaxRows = RowPointers.MaxRows;

    private const int Vectors = 4;
    private const int PairsPerBlock = PanelLayout.DepthBlock / 2;

    private static readonly int[] s_prefetchLines = [0, 1, 2, 4];

    /// <summary>One kernel for each number of rows, and for each of those one that asks for 0, 1, 2 or 4 lines a pair ahead.</summary>
    public static IReadOnlyList<Assembler> Assemblers()
    {
        List<Assembler> kernels = [];
        for (int rows = 1; rows <= MaxRows; rows++)
        {
            foreach (int lines in s_prefetchLines)
            {
                kernels.Add(Emit(rows, lines));
            }
        }

        return kernels;
    }

    /// <summary>Place in <see cref="Assemblers"/>.</summary>
    /// <param name="rows">1 .. <see cref="MaxRows"/>.</param>
    /// <param name="prefetchLines">Lines asked for a pair: 0, 1, 2 or 4.</param>
    public static int Index(int rows, int prefetchLines) => ((rows - 1) * s_prefetchLines.Length) + BitOperations.Log2((2 * (uint)prefetchLines) + 1);

    private static Assembler Emit(int rows, int prefetchLines)
    {
        Assembler c = new(64);
        RowPointers x = new(rax, rsi, rdx);
        x.Load(c, rdi, Offset(nameof(DotArguments.X)), Offset(nameof(DotArguments.XStride)));
        c.mov(rcx, Field(nameof(DotArguments.B0)));
        c.mov(r8, Field(nameof(DotArguments.B1)));
        c.mov(r9, Field(nameof(DotArguments.Blocks)));
        c.mov(r10, Field(nameof(DotArguments.Prefetch0)));
        c.mov(r11, Field(nameof(DotArguments.Prefetch1)));

        BeginSums(c, rows, Vectors, 0);
        Label loop = c.CreateLabel();
        c.Label(ref loop);
        for (int pair = 0; pair < PairsPerBlock; pair++)
        {
            EmitPair(c, rows, x, pair);
            EmitPrefetch(c, prefetchLines, pair);
        }

        x.Advance(c, PanelLayout.DepthBlock * sizeof(ushort));
        c.add(rcx, 2 * PanelLayout.TileBytes);
        c.add(r8, 2 * PanelLayout.TileBytes);
        if (prefetchLines > 0)
        {
            c.add(r10, PairsPerBlock * prefetchLines / 2 * VectorBytes);
            c.add(r11, PairsPerBlock * prefetchLines / 2 * VectorBytes);
        }

        c.dec(r9);
        c.jne(loop);
        EndSums(c, rows, Vectors, 0);
        c.vzeroupper();
        c.ret();
        return c;
    }

    private static void EmitPair(Assembler c, int rows, RowPointers x, int pair)
    {
        int firstWeight = rows * Vectors;
        int at = pair * VectorBytes;
        c.vmovdqu32(Zmm(firstWeight), __zmmword_ptr[rcx + at]);
        c.vmovdqu32(Zmm(firstWeight + 1), __zmmword_ptr[rcx + (at + PanelLayout.TileBytes)]);
        c.vmovdqu32(Zmm(firstWeight + 2), __zmmword_ptr[r8 + at]);
        c.vmovdqu32(Zmm(firstWeight + 3), __zmmword_ptr[r8 + (at + PanelLayout.TileBytes)]);
        for (int row = 0; row < rows; row++)
        {
            // Two registers in turn, so that the next broadcast does not wait for the last products.
            AssemblerRegisterZMM factor = Zmm(firstWeight + Vectors + (row % 2));
            c.vpbroadcastd(factor, x.At(row, pair * 2 * sizeof(ushort)));
            for (int vector = 0; vector < Vectors; vector++)
            {
                c.vdpbf16ps(Zmm((row * Vectors) + vector), Zmm(firstWeight + vector), factor);
            }
        }
    }

    private static void EmitPrefetch(Assembler c, int lines, int pair)
    {
        // Both streams in turn.
        for (int line = pair * lines; line < (pair + 1) * lines; line++)
        {
            c.prefetcht0(__byte_ptr[(line % 2 == 0 ? r10 : r11) + (line / 2 * VectorBytes)]);
        }
    }
}
