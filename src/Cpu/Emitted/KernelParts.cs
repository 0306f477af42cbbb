using System.Runtime.InteropServices;
using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace InferenceServer.Cpu.Emitted;

/// <summary>What the emitted kernels have in common.</summary>
internal static class KernelParts
{
    /// <summary>Bytes of a vector, and of a cache line.</summary>
    public const int VectorBytes = 64;

    private static readonly AssemblerRegisterZMM[] s_vectors =
    [
        zmm0, zmm1, zmm2, zmm3, zmm4, zmm5, zmm6, zmm7, zmm8, zmm9, zmm10, zmm11, zmm12, zmm13, zmm14, zmm15,
        zmm16, zmm17, zmm18, zmm19, zmm20, zmm21, zmm22, zmm23, zmm24, zmm25, zmm26, zmm27, zmm28, zmm29, zmm30, zmm31,
    ];

    /// <summary>A vector register.</summary>
    public static AssemblerRegisterZMM Zmm(int number) => s_vectors[number];

    /// <summary>Where a field of <see cref="DotArguments"/> lies, whose address is in rdi.</summary>
    public static AssemblerMemoryOperand Field(string name) => __qword_ptr[rdi + Offset(name)];

    /// <summary>Bytes from the start of <see cref="DotArguments"/> to a field.</summary>
    public static int Offset(string name) => (int)Marshal.OffsetOf<DotArguments>(name);

    /// <summary>Loads the sums to go on from, or zeros; leaves all other registers as they are.</summary>
    public static void BeginSums(Assembler c, int rows, int vectors, int firstSum)
    {
        Label fresh = c.CreateLabel();
        Label begun = c.CreateLabel();
        c.cmp(Field(nameof(DotArguments.Resume)), 0);
        c.je(fresh);
        c.push(rax);
        c.push(rdx);
        MoveSums(c, rows, vectors, firstSum, load: true);
        c.pop(rdx);
        c.pop(rax);
        c.jmp(begun);
        c.Label(ref fresh);
        for (int i = firstSum; i < firstSum + (rows * vectors); i++)
        {
            c.vpxord(Zmm(i), Zmm(i), Zmm(i));
        }

        c.Label(ref begun);

        // A label needs an instruction of its own.
        c.nop();
    }

    /// <summary>Stores the sums; uses rax and rdx.</summary>
    public static void EndSums(Assembler c, int rows, int vectors, int firstSum) => MoveSums(c, rows, vectors, firstSum, load: false);

    private static void MoveSums(Assembler c, int rows, int vectors, int firstSum, bool load)
    {
        c.mov(rax, Field(nameof(DotArguments.C)));
        c.mov(rdx, Field(nameof(DotArguments.CStride)));
        for (int row = 0; row < rows; row++)
        {
            for (int vector = 0; vector < vectors; vector++)
            {
                AssemblerRegisterZMM sum = Zmm(firstSum + (row * vectors) + vector);
                if (load)
                {
                    c.vmovups(sum, __zmmword_ptr[rax + (vector * VectorBytes)]);
                }
                else
                {
                    c.vmovups(__zmmword_ptr[rax + (vector * VectorBytes)], sum);
                }
            }

            c.add(rax, rdx);
        }
    }
}
