using Iced.Intel;
using InferenceServer.Cpu.Weights;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Quantization;
using static Iced.Intel.AssemblerRegisters;
using static InferenceServer.Cpu.Emitted.KernelParts;

namespace InferenceServer.Cpu.Emitted;

/// <summary>
/// Up to six rows of x times two panels of 32 columns of weights, both as integers with scales, by vpdpwssd. For each group of 32 inputs the integers are summed exactly, in 32 bits; then
/// <c>c[r, n] += float(sum) * weightScale[n] * xScale[r]</c>, group by group: rounded at the conversion (sums of more than 24 bits), at the
/// first product and at the multiply-add.
/// </summary>
/// <remarks>
/// Sums of integers have no order, so any other way to form them has the same bits. The codes become 16-bit integers in registers, shared by
/// all rows; two panels are two streams of memory. The sums of floats of up to three rows stay in registers too; those of more rest in the
/// result, in the first-level cache.
/// </remarks>
internal sealed class IntegerDotKernels
{
    /// <summary>Most rows of a call.</summary>
    public const int MaxRows = RowPointers.MaxRows;

    /// <summary>Floats from one row of the result to the next.</summary>
    public const int ResultStride = 2 * PanelLayout.Width;

    /// <summary>Most rows whose sums of floats find room in the registers.</summary>
    private const int MaxRegisterRows = 3;

    private const int MaxChainedRows = 2;
    private const int Vectors = 4;
    private const int GroupPairs = QuantizeRows.GroupSize / 2;
    private const int PairBytes = 2 * PanelLayout.Width;
    private const int WordPairs = NF4Panels.WordDepth / 2;

    private static readonly WeightFormat[] s_formats = [WeightFormat.Int8, WeightFormat.NF4];

    private readonly Assembler _code = new(64);
    private readonly WeightFormat _format;
    private readonly int _rows;
    private readonly bool _prefetch;

    private IntegerDotKernels(WeightFormat format, int rows, bool prefetch)
    {
        _format = format;
        _rows = rows;
        _prefetch = prefetch;
    }

    private int Sums => _rows * Vectors;

    /// <summary>Sums of integers of the same element: few rows need more of them under way to hide the latency of a product.</summary>
    private int Chains => _rows <= MaxChainedRows ? 2 : 1;

    private int FirstFloat => Chains * Sums;

    /// <summary>First of the weights; the sums of integers and those of floats come before.</summary>
    private int FirstWeight => FirstFloat + (KeepsFloats ? Sums : 0);

    private bool KeepsFloats => _rows <= MaxRegisterRows;

    /// <summary>Two of them in turn, so that the next broadcast does not wait for the last products.</summary>
    private int FirstFactor => FirstWeight + Vectors;

    private static AssemblerRegisterZMM Table => Zmm(31);

    private int GroupsPerScale => _format == WeightFormat.Int8 ? 1 : NormalFloat4.BlockSize / QuantizeRows.GroupSize;

    private int GroupBytes => QuantizedPanels.BlockBytes / GroupsPerScale;

    /// <summary>A kernel for each format, number of rows, and without and with asking for weights ahead.</summary>
    public static IReadOnlyList<Assembler> Assemblers()
    {
        List<Assembler> kernels = [];
        foreach (WeightFormat format in s_formats)
        {
            for (int rows = 1; rows <= MaxRows; rows++)
            {
                kernels.Add(new IntegerDotKernels(format, rows, prefetch: false).Emit());
                kernels.Add(new IntegerDotKernels(format, rows, prefetch: true).Emit());
            }
        }

        return kernels;
    }

    /// <summary>Place in <see cref="Assemblers"/>.</summary>
    public static int Index(WeightFormat format, int rows, bool prefetch) =>
        (((Array.IndexOf(s_formats, format) * MaxRows) + rows - 1) * 2) + (prefetch ? 1 : 0);

    private Assembler Emit()
    {
        Assembler c = _code;
        c.push(rbx);
        c.push(rbp);
        c.push(r12);
        c.push(r13);
        c.push(r14);
        c.push(r15);
        RowPointers x = new(rax, rsi, rdx);
        RowPointers xScales = new(r8, r10, r11);
        x.Load(c, rdi, Offset(nameof(DotArguments.X)), Offset(nameof(DotArguments.XStride)));
        xScales.Load(c, rdi, Offset(nameof(DotArguments.XScales)), Offset(nameof(DotArguments.XScaleStride)));
        c.mov(rcx, Field(nameof(DotArguments.B0)));
        c.mov(r12, Field(nameof(DotArguments.B1)));
        c.mov(rbx, Field(nameof(DotArguments.BScales)));
        c.mov(r13, Field(nameof(DotArguments.B1Scales)));
        c.mov(r14, Field(nameof(DotArguments.Prefetch0)));
        c.mov(r15, Field(nameof(DotArguments.Prefetch1)));
        c.mov(r9, Field(nameof(DotArguments.Blocks)));
        if (_format == WeightFormat.NF4)
        {
            c.mov(rbp, Field(nameof(DotArguments.Values)));
            c.vmovdqu16(Table, __zmmword_ptr[rbp]);
        }

        c.mov(rbp, Field(nameof(DotArguments.C)));

        if (KeepsFloats)
        {
            BeginSums(c, _rows, Vectors, FirstFloat);
        }
        else
        {
            EmitClearing();
        }

        Label loop = c.CreateLabel();
        c.Label(ref loop);
        for (int group = 0; group < GroupsPerScale; group++)
        {
            EmitGroup(group, x);
            EmitScales(xScales);
            x.Advance(c, QuantizeRows.GroupSize * sizeof(short));
            xScales.Advance(c, sizeof(float));
        }

        int bytes = GroupsPerScale * GroupBytes;
        int scaleBytes = PanelLayout.Width * (_format == WeightFormat.Int8 ? sizeof(ushort) : sizeof(float));
        c.add(rcx, bytes);
        c.add(r12, bytes);
        c.add(rbx, scaleBytes);
        c.add(r13, scaleBytes);
        c.add(r14, bytes);
        c.add(r15, bytes);
        c.dec(r9);
        c.jne(loop);
        if (KeepsFloats)
        {
            EndSums(c, _rows, Vectors, FirstFloat);
        }

        c.vzeroupper();
        c.pop(r15);
        c.pop(r14);
        c.pop(r13);
        c.pop(r12);
        c.pop(rbp);
        c.pop(rbx);
        c.ret();
        return c;
    }

    private void EmitGroup(int group, RowPointers x)
    {
        for (int i = 0; i < FirstFloat; i++)
        {
            _code.vpxord(Zmm(i), Zmm(i), Zmm(i));
        }

        for (int pair = 0; pair < GroupPairs; pair++)
        {
            EmitWeights(rcx, group * GroupBytes, pair, FirstWeight);
            EmitPrefetch(r14, group * GroupBytes, pair);
            EmitWeights(r12, group * GroupBytes, pair, FirstWeight + 2);
            EmitPrefetch(r15, group * GroupBytes, pair);
            for (int row = 0; row < _rows; row++)
            {
                AssemblerRegisterZMM factor = Zmm(FirstFactor + (row % 2));
                _code.vpbroadcastd(factor, x.At(row, pair * 2 * sizeof(short)));
                for (int vector = 0; vector < Vectors; vector++)
                {
                    _code.vpdpwssd(Zmm((pair % Chains * Sums) + (row * Vectors) + vector), Zmm(FirstWeight + vector), factor);
                }
            }
        }
    }

    /// <summary>A pair of inputs of a panel's two tiles, as 16-bit integers.</summary>
    private void EmitWeights(AssemblerRegister64 weights, int start, int pair, int register)
    {
        Assembler c = _code;
        AssemblerRegisterZMM first = Zmm(register);
        AssemblerRegisterZMM second = Zmm(register + 1);
        switch (_format)
        {
            case WeightFormat.Int8:
                c.vpmovsxbw(first, __ymmword_ptr[weights + (start + (pair * PairBytes))]);
                c.vpmovsxbw(second, __ymmword_ptr[weights + (start + (pair * PairBytes) + (PairBytes / 2))]);
                break;
            case WeightFormat.NF4:
                // The lowest 5 bits of each 16 name an entry of a table that has its 16 values twice, so that only 4 of them count.
                int at = start + (pair / WordPairs * NF4Panels.WordBytes);
                int shift = pair % WordPairs * 4;
                foreach ((AssemblerRegisterZMM target, int offset) in new[] { (first, at), (second, at + VectorBytes) })
                {
                    if (shift == 0)
                    {
                        c.vmovdqu16(target, __zmmword_ptr[weights + offset]);
                    }
                    else
                    {
                        c.vpsrlw(target, __zmmword_ptr[weights + offset], (byte)shift);
                    }

                    c.vpermw(target, target, Table);
                }

                break;
        }
    }

    private void EmitPrefetch(AssemblerRegister64 stream, int start, int pair)
    {
        int pairBytes = GroupBytes / GroupPairs;
        int at = start + (pair * pairBytes);
        if (_prefetch && at % VectorBytes == 0)
        {
            _code.prefetcht0(__byte_ptr[stream + at]);
        }
    }

    private void EmitScales(RowPointers xScales)
    {
        Assembler c = _code;
        for (int vector = 0; vector < Vectors; vector++)
        {
            AssemblerRegister64 scales = vector < 2 ? rbx : r13;
            AssemblerRegisterZMM scale = Zmm(FirstWeight + vector);
            if (_format == WeightFormat.Int8)
            {
                const int HalfBytes = 32;
                c.vpmovzxwd(scale, __ymmword_ptr[scales + (vector % 2 * HalfBytes)]);
                c.vpslld(scale, scale, 16);
            }
            else
            {
                c.vmovups(scale, __zmmword_ptr[scales + (vector % 2 * VectorBytes)]);
            }
        }

        for (int row = 0; row < _rows; row++)
        {
            AssemblerRegisterZMM factor = Zmm(FirstFactor + (row % 2));
            c.vbroadcastss(factor, xScales.At(row, 0));
            for (int vector = 0; vector < Vectors; vector++)
            {
                AssemblerRegisterZMM sum = Zmm((row * Vectors) + vector);
                if (Chains == 2)
                {
                    c.vpaddd(sum, sum, Zmm(Sums + (row * Vectors) + vector));
                }

                c.vcvtdq2ps(sum, sum);
                c.vmulps(sum, sum, Zmm(FirstWeight + vector));
                if (KeepsFloats)
                {
                    c.vfmadd231ps(Zmm(FirstFloat + (row * Vectors) + vector), sum, factor);
                }
                else
                {
                    c.vfmadd213ps(sum, factor, Result(row, vector));
                    c.vmovups(Result(row, vector), sum);
                }
            }
        }
    }

    /// <summary>Sums that do not go on from others begin with zeros.</summary>
    private void EmitClearing()
    {
        Assembler c = _code;
        Label begun = c.CreateLabel();
        c.cmp(Field(nameof(DotArguments.Resume)), 0);
        c.jne(begun);
        c.vpxord(zmm0, zmm0, zmm0);
        for (int i = 0; i < Sums; i++)
        {
            c.vmovups(Result(i / Vectors, i % Vectors), zmm0);
        }

        c.Label(ref begun);

        // A label needs an instruction of its own.
        c.nop();
    }

    private static AssemblerMemoryOperand Result(int row, int vector) =>
        __zmmword_ptr[rbp + ((row * ResultStride * sizeof(float)) + (vector * VectorBytes))];
}
