using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;
using static InferenceServer.Cpu.Emitted.KernelParts;

namespace InferenceServer.Cpu.Emitted;

/// <summary>
/// Exact sums of products of integers by AMX tiles, group of 32 inputs by group: tdpbssd multiplies signed bytes. x of 16 bits is two bytes,
/// <c>256 high + low</c>, and so are the values of NF4; the sums of their parts are put together afterwards.
/// </summary>
internal static class IntegerTileCode
{
    /// <summary>Rows of x of a call.</summary>
    public const int Rows = 16;

    /// <summary>Bytes of the weights of a tile: 8 times 4 inputs of 16 columns.</summary>
    public const int WeightTileBytes = 512;

    /// <summary>Bytes of a tile of sums: 16 rows of 16.</summary>
    public const int SumTileBytes = 1024;

    /// <summary>Bytes of the sums of a group: high and low of two tiles of columns, or the three orders of one.</summary>
    public const int SumBytes = 4 * SumTileBytes;

    private const int GroupBytes = QuantizeRows.GroupSize;
    private const int RowBytes = 64;

    /// <summary>
    /// Int8: 16 rows times 32 columns. Writes for each group the sums of the high bytes of x with both tiles of columns, then those of the low.
    /// </summary>
    public static Assembler Int8() => Emit(c =>
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

    /// <summary>
    /// NF4: 16 rows times 16 columns, whose weights are a tile of high bytes and one of low. Writes for each group the sums of high with high, of
    /// high with low both ways, of low with low, and a tile of zeros.
    /// </summary>
    public static Assembler NF4() => Emit(c =>
    {
        c.tileloadd(tmm6, __[rcx + rax]);
        c.tileloadd(tmm4, __[rsi + rdx]);
        c.tdpbssd(tmm0, tmm4, tmm6);
        c.tileloadd(tmm7, __[rcx + rax + WeightTileBytes]);
        c.tdpbssd(tmm1, tmm4, tmm7);
        c.tileloadd(tmm5, __[r8 + rdx]);
        c.tdpbssd(tmm1, tmm5, tmm6);
        c.tdpbssd(tmm2, tmm5, tmm7);
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
            target[FirstColumnBytes + (2 * (FirstInput + i))] = GroupBytes;
            target[FirstRows + FirstWeight + i] = GroupBytes / sizeof(int);
        }
    }

    /// <summary>A loop over groups: X holds the high bytes of x, B1 the low, B0 the weights, and C takes the sums.</summary>
    private static Assembler Emit(Action<Assembler> multiply)
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
        c.tilezero(tmm0);
        c.tilezero(tmm1);
        c.tilezero(tmm2);
        c.tilezero(tmm3);
        multiply(c);
        c.tilestored(__[r10 + rax], tmm0);
        c.tilestored(__[r10 + rax + SumTileBytes], tmm1);
        c.tilestored(__[r10 + rax + (2 * SumTileBytes)], tmm2);
        c.tilestored(__[r10 + rax + (3 * SumTileBytes)], tmm3);
        c.add(rsi, GroupBytes);
        c.add(r8, GroupBytes);
        c.add(rcx, 2 * WeightTileBytes);
        c.add(r10, SumBytes);
        c.dec(r9);
        c.jne(loop);
        c.ret();
        return c;
    }
}
