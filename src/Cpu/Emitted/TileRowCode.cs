using Iced.Intel;
using InferenceServer.Cpu.Weights;
using static Iced.Intel.AssemblerRegisters;
using static InferenceServer.Cpu.Emitted.KernelParts;

namespace InferenceServer.Cpu.Emitted;

/// <summary>
/// One row times two bf16 panels by vectors, with the bits of <see cref="TileKernelCode"/>: for each depth block a chain over the first inputs of pairs
/// and one over the second, their sum, then the result; subnormals count as zeros. Tiles would read weights more slowly than vectors do.
/// </summary>
internal static class TileRowCode
{
    private const int Pairs = 16;
    private const int Columns = 4;
    private const int BlockBytes = 2 * PanelLayout.TileBytes;

    /// <summary>Subnormal inputs and results of a thread's vectors as zeros.</summary>
    private const int FlushesSubnormals = 0x8040;

    // Registers by column of vectors: results, both chains; then what steps share.
    private const int Results = 0;
    private const int First = 4;
    private const int Second = 8;
    private const int Weights = 12;

    private static readonly AssemblerRegisterZMM s_firstInput = zmm29;
    private static readonly AssemblerRegisterZMM s_secondInput = zmm30;
    private static readonly AssemblerRegisterZMM s_upperHalves = zmm31;

    /// <summary>X holds the row in f32, rounded to bf16; B0 and B1 are the panels; C takes 64 results.</summary>
    public static Assembler Row()
    {
        Assembler c = new(64);
        c.stmxcsr(__dword_ptr[rsp - 4]);
        c.mov(eax, __dword_ptr[rsp - 4]);
        c.or(eax, FlushesSubnormals);
        c.mov(__dword_ptr[rsp - 8], eax);
        c.ldmxcsr(__dword_ptr[rsp - 8]);
        c.mov(rsi, Field(nameof(DotArguments.X)));
        c.mov(rcx, Field(nameof(DotArguments.B0)));
        c.mov(r8, Field(nameof(DotArguments.B1)));
        c.mov(r9, Field(nameof(DotArguments.Blocks)));
        c.mov(r10, Field(nameof(DotArguments.Prefetch0)));
        c.mov(r11, Field(nameof(DotArguments.Prefetch1)));
        c.mov(eax, unchecked((int)0xffff0000));
        c.vpbroadcastd(s_upperHalves, eax);
        for (int column = 0; column < Columns; column++)
        {
            c.vpxord(Zmm(Results + column), Zmm(Results + column), Zmm(Results + column));
        }

        Label loop = c.CreateLabel();
        c.Label(ref loop);
        for (int pair = 0; pair < Pairs; pair++)
        {
            Step(c, pair);
        }

        for (int column = 0; column < Columns; column++)
        {
            c.vaddps(Zmm(First + column), Zmm(First + column), Zmm(Second + column));
            c.vaddps(Zmm(Results + column), Zmm(Results + column), Zmm(First + column));
        }

        c.add(rsi, 2 * Pairs * sizeof(float));
        c.add(rcx, BlockBytes);
        c.add(r8, BlockBytes);
        c.add(r10, BlockBytes);
        c.add(r11, BlockBytes);
        c.dec(r9);
        c.jne(loop);
        c.mov(rax, Field(nameof(DotArguments.C)));
        for (int column = 0; column < Columns; column++)
        {
            c.vmovups(__zmmword_ptr[rax + (column * VectorBytes)], Zmm(Results + column));
        }

        c.ldmxcsr(__dword_ptr[rsp - 4]);
        c.vzeroupper();
        c.ret();
        return c;
    }

    /// <summary>One pair of inputs with 64 columns: bf16 is the upper half of f32. The first step of a chain has nothing to add to.</summary>
    private static void Step(Assembler c, int pair)
    {
        c.vbroadcastss(s_firstInput, __dword_ptr[rsi + (pair * 2 * sizeof(float))]);
        c.vbroadcastss(s_secondInput, __dword_ptr[rsi + (((pair * 2) + 1) * sizeof(float))]);
        for (int column = 0; column < Columns; column++)
        {
            AssemblerRegister64 panel = column < 2 ? rcx : r8;
            AssemblerRegister64 ahead = column < 2 ? r10 : r11;
            int offset = (column % 2 * PanelLayout.TileBytes) + (pair * VectorBytes);
            AssemblerRegisterZMM first = Zmm(Weights + (2 * column));
            AssemblerRegisterZMM second = Zmm(Weights + (2 * column) + 1);
            c.prefetcht0(__byte_ptr[ahead + offset]);
            c.vpslld(first, __zmmword_ptr[panel + offset], 16);
            c.vpandd(second, s_upperHalves, __zmmword_ptr[panel + offset]);
            if (pair == 0)
            {
                c.vmulps(Zmm(First + column), first, s_firstInput);
                c.vmulps(Zmm(Second + column), second, s_secondInput);
            }
            else
            {
                c.vfmadd231ps(Zmm(First + column), first, s_firstInput);
                c.vfmadd231ps(Zmm(Second + column), second, s_secondInput);
            }
        }
    }
}
