using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;
using static InferenceServer.Cpu.Emitted.KernelParts;

namespace InferenceServer.Cpu.Emitted;

/// <summary>
/// Exact sums of products of integers by AMX tiles, group of inputs by group: tdpbssd multiplies signed bytes, tdpbsud signed ones of x with
/// unsigned ones of weights. x of 16 bits is two bytes, <c>256 high + low</c>; the sums of its parts are put together afterwards.
/// </summary>
internal static class IntegerTileCode
{
    /// <summary>Rows of x of a call.</summary>
    public const int Rows = 16;

    /// <summary>Times four inputs of a tile of weights.</summary>
    public const int Quads = 8;

    /// <summary>Bytes of a tile of weights: 8 times 4 inputs of 16 columns.</summary>
    public const int WeightTileBytes = 512;

    /// <summary>Bytes of a tile of sums: 16 rows of 16.</summary>
    public const int SumTileBytes = 1024;

    /// <summary>Most bytes of the sums of a group: high and low of two tiles of columns.</summary>
    public const int SumBytes = 4 * SumTileBytes;

    private const int XTileBytes = Quads * sizeof(int);
    private const int RowBytes = 64;

    private static readonly AssemblerRegisterTMM[] s_sums = [tmm0, tmm1, tmm2, tmm3];

    /// <summary>
    /// Int8: 16 rows times 32 columns. X holds the high bytes of x, B1 the low. Writes for each group of 32 inputs the sums of the high bytes with both
    /// tiles of columns, then those of the low.
    /// </summary>
    public static Assembler Int8() => Emit(sumTiles: 4, halves: 1, c =>
    {
        c.tileloadd(tmm6, __[rcx + rax]);
        c.tileloadd(tmm4, __[rsi + rdx]);
        c.tdpbssd(tmm0, tmm4, tmm6);
        c.tileloadd(tmm7, __[rcx + rax + WeightTileBytes]);
        c.tdpbssd(tmm1, tmm4, tmm7);
        c.tileloadd(tmm5, __[r8 + rdx]);
        c.tdpbssd(tmm2, tmm5, tmm6);
        c.tdpbssd(tmm3, tmm5, tmm7);
    });

    /// <summary>NF4: 16 rows times 32 columns. Writes for each group of 64 inputs the sums of both tiles of columns.</summary>
    public static Assembler NF4() => Emit(sumTiles: 2, halves: 2, c =>
    {
        for (int half = 0; half < 2; half++)
        {
            c.tileloadd(tmm4, __[rsi + rdx + (half * XTileBytes)]);
            c.tileloadd(tmm6, __[rcx + rax + (half * 2 * WeightTileBytes)]);
            c.tdpbsud(tmm0, tmm4, tmm6);
            c.tileloadd(tmm7, __[rcx + rax + (((half * 2) + 1) * WeightTileBytes)]);
            c.tdpbsud(tmm1, tmm4, tmm7);
        }
    });

    /// <summary>The configuration: four tiles of sums, two of x with 32 bytes a row, two of weights with 8 rows (palette 1).</summary>
    public static void WriteConfiguration(Span<byte> target)
    {
        const int FirstColumnBytes = 16;
        const int FirstRows = 48;
        const int FirstInput = 4;
        const int FirstWeight = 6;
        TileKernelCode.WriteConfiguration(target);
        for (int i = 0; i < 2; i++)
        {
            target[FirstColumnBytes + (2 * (FirstInput + i))] = XTileBytes;
            target[FirstRows + FirstWeight + i] = Quads;
        }
    }

    /// <summary>A loop over groups: X and perhaps B1 hold x, B0 the weights, and C takes the sums.</summary>
    private static Assembler Emit(int sumTiles, int halves, Action<Assembler> multiply)
    {
        Assembler c = new(64);
        c.mov(rsi, Field(nameof(DotArguments.X)));
        c.mov(rdx, Field(nameof(DotArguments.XStride)));
        c.mov(rcx, Field(nameof(DotArguments.B0)));
        c.mov(r8, Field(nameof(DotArguments.B1)));
        c.mov(r9, Field(nameof(DotArguments.Blocks)));
        c.mov(r10, Field(nameof(DotArguments.C)));
        c.mov(eax, RowBytes);
        Label loop = c.CreateLabel();
        c.Label(ref loop);
        for (int i = 0; i < sumTiles; i++)
        {
            c.tilezero(s_sums[i]);
        }

        multiply(c);
        for (int i = 0; i < sumTiles; i++)
        {
            c.tilestored(__[r10 + rax + (i * SumTileBytes)], s_sums[i]);
        }

        c.add(rsi, halves * XTileBytes);
        c.add(r8, halves * XTileBytes);
        c.add(rcx, halves * 2 * WeightTileBytes);
        c.add(r10, sumTiles * SumTileBytes);
        c.dec(r9);
        c.jne(loop);
        c.ret();
        return c;
    }
}
