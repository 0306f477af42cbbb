using Iced.Intel;
using InferenceServer.Cpu.Weights;
using static Iced.Intel.AssemblerRegisters;
using static InferenceServer.Cpu.Emitted.KernelParts;

namespace InferenceServer.Cpu.Emitted;

/// <summary>
/// Products of bf16 matrices by AMX tiles of 16 rows of 64 bytes: tdpbf16ps multiplies 16 rows of 32 inputs by 32 inputs of 16 columns. A depth
/// block of a bf16 panel is two such tiles as it lies.
/// </summary>
/// <remarks>
/// Each tdpbf16ps sums the first inputs of its pairs in one chain and the second in another, adds the two and then the result; subnormals
/// count as zeros (Intel's Software Developer's Manual, TDPBF16PS). A row's sum depends on nothing else.
/// </remarks>
internal static class TileKernelCode
{
    /// <summary>Rows of a tile.</summary>
    public const int TileRows = 16;

    /// <summary>Bytes of the configuration of the tiles.</summary>
    public const int ConfigurationBytes = 64;

    private const int RowBytes = 64;
    private const int TileBytes = PanelLayout.TileBytes;
    private const int BlockBytes = 2 * TileBytes;

    /// <summary>16 rows times 64 columns, two panels: one stream of x, two of weights, which are asked for ahead.</summary>
    public static Assembler Narrow()
    {
        Assembler c = new(64);
        LoadFields(c);
        c.mov(r10, Field(nameof(DotArguments.Prefetch0)));
        c.mov(r11, Field(nameof(DotArguments.Prefetch1)));
        BeginTiles(c, tmm0, tmm1, tmm2, tmm3, narrow: true);
        Label loop = c.CreateLabel();
        c.Label(ref loop);
        c.tileloadd(tmm4, __[rsi + rax]);
        c.tileloadd(tmm5, __[rcx + rax]);
        Prefetch(c, r10, 0);
        c.tdpbf16ps(tmm0, tmm4, tmm5);
        c.tileloadd(tmm6, __[rcx + rax + TileBytes]);
        Prefetch(c, r10, TileBytes);
        c.tdpbf16ps(tmm1, tmm4, tmm6);
        c.tileloadd(tmm7, __[r8 + rax]);
        Prefetch(c, r11, 0);
        c.tdpbf16ps(tmm2, tmm4, tmm7);
        c.tileloadd(tmm5, __[r8 + rax + TileBytes]);
        Prefetch(c, r11, TileBytes);
        c.tdpbf16ps(tmm3, tmm4, tmm5);
        c.add(rsi, TileBytes);
        c.add(rcx, BlockBytes);
        c.add(r8, BlockBytes);
        c.add(r10, BlockBytes);
        c.add(r11, BlockBytes);
        c.dec(r9);
        c.jne(loop);
        EndTiles(c, narrow: true);
        return c;
    }

    /// <summary>32 rows times 32 columns, one panel: each tile that is loaded serves two products.</summary>
    public static Assembler Square() => Square(ahead: false);

    /// <summary>The same for the first to pass over weights, which it asks for ahead.</summary>
    public static Assembler SquareAhead() => Square(ahead: true);

    /// <summary>Sets the shape of the tiles, from 64 bytes at the address given.</summary>
    public static Assembler Configure()
    {
        Assembler c = new(64);
        c.ldtilecfg(__[rdi]);
        c.ret();
        return c;
    }

    /// <summary>Frees the tiles, which the system then need not save.</summary>
    public static Assembler Release()
    {
        Assembler c = new(64);
        c.tilerelease();
        c.ret();
        return c;
    }

    /// <summary>The configuration: eight tiles of 16 rows of 64 bytes (palette 1).</summary>
    public static void WriteConfiguration(Span<byte> target)
    {
        const int Palette = 1;
        const int Tiles = 8;
        const int FirstColumnBytes = 16;
        const int FirstRows = 48;
        target[..ConfigurationBytes].Clear();
        target[0] = Palette;
        for (int tile = 0; tile < Tiles; tile++)
        {
            target[FirstColumnBytes + (2 * tile)] = RowBytes;
            target[FirstRows + tile] = TileRows;
        }
    }

    private static Assembler Square(bool ahead)
    {
        Assembler c = new(64);
        LoadFields(c);
        if (ahead)
        {
            c.mov(r10, Field(nameof(DotArguments.Prefetch0)));
        }

        // The second 16 rows of x.
        c.mov(r11, rsi);
        c.add(r11, rdx);
        BeginTiles(c, tmm0, tmm1, tmm2, tmm3, narrow: false);
        Label loop = c.CreateLabel();
        c.Label(ref loop);
        c.tileloadd(tmm6, __[rcx + rax]);
        c.tileloadd(tmm4, __[rsi + rax]);
        if (ahead)
        {
            Prefetch(c, r10, 0);
        }

        c.tileloadd(tmm7, __[rcx + rax + TileBytes]);
        c.tdpbf16ps(tmm0, tmm4, tmm6);
        c.tileloadd(tmm5, __[r11 + rax]);
        if (ahead)
        {
            Prefetch(c, r10, TileBytes);
        }

        c.tdpbf16ps(tmm1, tmm4, tmm7);
        c.tdpbf16ps(tmm2, tmm5, tmm6);
        c.tdpbf16ps(tmm3, tmm5, tmm7);
        c.add(rsi, TileBytes);
        c.add(r11, TileBytes);
        c.add(rcx, BlockBytes);
        if (ahead)
        {
            c.add(r10, BlockBytes);
        }

        c.dec(r9);
        c.jne(loop);
        EndTiles(c, narrow: false);
        return c;
    }

    private static void LoadFields(Assembler c)
    {
        c.mov(rsi, Field(nameof(DotArguments.X)));
        c.mov(rdx, Field(nameof(DotArguments.XStride)));
        c.mov(rcx, Field(nameof(DotArguments.B0)));
        c.mov(r8, Field(nameof(DotArguments.B1)));
        c.mov(r9, Field(nameof(DotArguments.Blocks)));
        c.mov(eax, RowBytes);
    }

    private static void Prefetch(Assembler c, AssemblerRegister64 stream, int start)
    {
        for (int line = 0; line < TileBytes; line += VectorBytes)
        {
            c.prefetcht0(__byte_ptr[stream + (start + line)]);
        }
    }

    private static void BeginTiles(
        Assembler c, AssemblerRegisterTMM first, AssemblerRegisterTMM second, AssemblerRegisterTMM third, AssemblerRegisterTMM fourth, bool narrow)
    {
        Label fresh = c.CreateLabel();
        Label begun = c.CreateLabel();
        c.cmp(Field(nameof(DotArguments.Resume)), 0);
        c.je(fresh);
        c.push(rsi);
        c.push(rdx);
        ResultPointers(c);
        c.tileloadd(first, Result(0, narrow));
        c.tileloadd(second, Result(1, narrow));
        NextRows(c, narrow);
        c.tileloadd(third, Result(2, narrow));
        c.tileloadd(fourth, Result(3, narrow));
        c.pop(rdx);
        c.pop(rsi);
        c.jmp(begun);
        c.Label(ref fresh);
        c.tilezero(first);
        c.tilezero(second);
        c.tilezero(third);
        c.tilezero(fourth);
        c.Label(ref begun);

        // A label needs an instruction of its own.
        c.nop();
    }

    private static void EndTiles(Assembler c, bool narrow)
    {
        ResultPointers(c);
        c.tilestored(Result(0, narrow), tmm0);
        c.tilestored(Result(1, narrow), tmm1);
        NextRows(c, narrow);
        c.tilestored(Result(2, narrow), tmm2);
        c.tilestored(Result(3, narrow), tmm3);
        c.ret();
    }

    /// <summary>The result in rsi, its stride in rdx.</summary>
    private static void ResultPointers(Assembler c)
    {
        c.mov(rsi, Field(nameof(DotArguments.C)));
        c.mov(rdx, Field(nameof(DotArguments.CStride)));
    }

    /// <summary>In a square the last two tiles lie 16 rows below the first two; else the four lie side by side.</summary>
    private static void NextRows(Assembler c, bool narrow)
    {
        if (!narrow)
        {
            c.push(rdx);
            c.shl(rdx, 4);
            c.add(rsi, rdx);
            c.pop(rdx);
        }
    }

    private static AssemblerMemoryOperand Result(int tile, bool narrow) =>
        __[rsi + rdx + ((narrow ? tile : tile % 2) * RowBytes)];
}
