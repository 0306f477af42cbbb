using System.Runtime.InteropServices;
using Iced.Intel;
using InferenceServer.Cpu.Weights;
using InferenceServer.Tensors;
using static Iced.Intel.AssemblerRegisters;
using static InferenceServer.Cpu.Emitted.KernelParts;

namespace InferenceServer.Cpu.Emitted;

/// <summary>
/// Up to six rows of x times two panels of 32 columns of weights, both as integers with scales: int8 by vpdpwssd on 16 bits, NF4 by vpdpbusd on 8. For each group of inputs that share a scale the
/// integers are summed exactly, in 32 bits; then <c>c[r, n] += (float(sum) * xScale[r] + xStart[r]) * weightScale[n]</c>, group by group: rounded at the
/// conversion (sums of more than 24 bits) and at both products. The start, of NF4 only, takes out what unsigned bytes of weights add.
/// </summary>
/// <remarks>
/// Sums of integers have no order, so any other way to form them has the same bits. The codes become integers in registers, shared by
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

    /// <summary>How many bytes ahead scales are asked for.</summary>
    private const int ScalesAhead = 1024;

    private const int MaxChainedRows = 2;
    private const int Vectors = 4;

    /// <summary>Bytes of x that a product takes in a lane: two inputs of 16 bits or four of 8.</summary>
    private const int StepBytes = 4;

    private const int GroupSteps = QuantizeRows.GroupBytes / StepBytes;
    private const int PairBytes = 2 * PanelLayout.Width;
    private const int WordSteps = NF4Panels.WordDepth / StepBytes;

    private static readonly int s_scaleOffset = (int)Marshal.OffsetOf<GroupFactor>(nameof(GroupFactor.Scale));
    private static readonly int s_startOffset = (int)Marshal.OffsetOf<GroupFactor>(nameof(GroupFactor.Start));
    private static readonly CodesAhead[] s_ways = Enum.GetValues<CodesAhead>();
    private static readonly WeightFormat[] s_formats = [WeightFormat.Int8, WeightFormat.NF4];

    private readonly Assembler _code = new(64);
    private readonly WeightFormat _format;
    private readonly int _rows;
    private readonly CodesAhead _ahead;

    private IntegerDotKernels(WeightFormat format, int rows, CodesAhead ahead)
    {
        _format = format;
        _rows = rows;
        _ahead = ahead;
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

    /// <summary>A kernel for each format, number of rows and way to ask for codes ahead.</summary>
    public static IReadOnlyList<Assembler> Assemblers()
    {
        List<Assembler> kernels = [];
        foreach (WeightFormat format in s_formats)
        {
            for (int rows = 1; rows <= MaxRows; rows++)
            {
                foreach (CodesAhead ahead in s_ways)
                {
                    kernels.Add(new IntegerDotKernels(format, rows, ahead).Emit());
                }
            }
        }

        return kernels;
    }

    /// <summary>Place in <see cref="Assemblers"/>.</summary>
    public static int Index(WeightFormat format, int rows, CodesAhead ahead) =>
        (((Array.IndexOf(s_formats, format) * MaxRows) + rows - 1) * s_ways.Length) + (int)ahead;

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
        RowPointers xFactors = new(r8, r10, r11);
        x.Load(c, rdi, Offset(nameof(DotArguments.X)), Offset(nameof(DotArguments.XStride)));
        xFactors.Load(c, rdi, Offset(nameof(DotArguments.XFactors)), Offset(nameof(DotArguments.XFactorStride)));
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
            c.vmovdqu8(Table, __zmmword_ptr[rbp]);
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
        EmitGroup(x);
        EmitScales(xFactors);
        x.Advance(c, QuantizeRows.GroupBytes);
        xFactors.Advance(c, Marshal.SizeOf<GroupFactor>());

        const int Bytes = QuantizedPanels.BlockBytes;
        int scaleBytes = PanelLayout.Width * (_format == WeightFormat.Int8 ? sizeof(ushort) : sizeof(float));
        c.add(rcx, Bytes);
        c.add(r12, Bytes);
        c.add(rbx, scaleBytes);
        c.add(r13, scaleBytes);
        c.add(r14, Bytes);
        c.add(r15, Bytes);
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

    private void EmitGroup(RowPointers x)
    {
        for (int i = 0; i < FirstFloat; i++)
        {
            _code.vpxord(Zmm(i), Zmm(i), Zmm(i));
        }

        for (int step = 0; step < GroupSteps; step++)
        {
            EmitWeights(rcx, step, FirstWeight);
            EmitPrefetch(r14, step);
            EmitWeights(r12, step, FirstWeight + 2);
            EmitPrefetch(r15, step);
            for (int row = 0; row < _rows; row++)
            {
                AssemblerRegisterZMM factor = Zmm(FirstFactor + (row % 2));
                _code.vpbroadcastd(factor, x.At(row, step * StepBytes));
                for (int vector = 0; vector < Vectors; vector++)
                {
                    AssemblerRegisterZMM sum = Zmm((step % Chains * Sums) + (row * Vectors) + vector);
                    if (_format == WeightFormat.Int8)
                    {
                        _code.vpdpwssd(sum, Zmm(FirstWeight + vector), factor);
                    }
                    else
                    {
                        _code.vpdpbusd(sum, Zmm(FirstWeight + vector), factor);
                    }
                }
            }
        }
    }

    /// <summary>The next inputs of a panel's two tiles, as integers.</summary>
    private void EmitWeights(AssemblerRegister64 weights, int step, int register)
    {
        Assembler c = _code;
        AssemblerRegisterZMM first = Zmm(register);
        AssemblerRegisterZMM second = Zmm(register + 1);
        switch (_format)
        {
            case WeightFormat.Int8:
                c.vpmovsxbw(first, __ymmword_ptr[weights + (step * PairBytes)]);
                c.vpmovsxbw(second, __ymmword_ptr[weights + ((step * PairBytes) + (PairBytes / 2))]);
                break;
            case WeightFormat.NF4:
                // The lowest 6 bits of each byte name an entry of a table that has its 16 values four times, so that only 4 of them count.
                int at = step / WordSteps * NF4Panels.WordBytes;
                foreach ((AssemblerRegisterZMM target, int offset) in new[] { (first, at), (second, at + VectorBytes) })
                {
                    if (step % WordSteps == 0)
                    {
                        c.vmovdqu8(target, __zmmword_ptr[weights + offset]);
                    }
                    else
                    {
                        c.vpsrlw(target, __zmmword_ptr[weights + offset], 4);
                    }

                    c.vpermb(target, target, Table);
                }

                break;
        }
    }

    private void EmitPrefetch(AssemblerRegister64 stream, int step)
    {
        const int StepsPerLine = GroupSteps / (QuantizedPanels.BlockBytes / VectorBytes);
        if (step % StepsPerLine == 0)
        {
            AssemblerMemoryOperand line = __byte_ptr[stream + (step / StepsPerLine * VectorBytes)];
            switch (_ahead)
            {
                case CodesAhead.Near:
                    _code.prefetcht0(line);
                    break;
                case CodesAhead.Far:
                    _code.prefetcht1(line);
                    break;
            }
        }
    }

    private void EmitScales(RowPointers xFactors)
    {
        Assembler c = _code;
        for (int vector = 0; vector < Vectors; vector++)
        {
            AssemblerRegister64 scales = vector < 2 ? rbx : r13;
            AssemblerRegisterZMM scale = Zmm(FirstWeight + vector);
            if (_format == WeightFormat.NF4 || vector % 2 == 0)
            {
                // They are streams of their own.
                c.prefetcht0(__byte_ptr[scales + (ScalesAhead + (vector % 2 * VectorBytes))]);
            }

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
            AssemblerRegisterZMM factor = Zmm(FirstFactor);
            AssemblerRegisterZMM start = Zmm(FirstFactor + 1);
            c.vbroadcastss(factor, xFactors.At(row, s_scaleOffset));
            if (_format == WeightFormat.NF4)
            {
                c.vbroadcastss(start, xFactors.At(row, s_startOffset));
            }

            for (int vector = 0; vector < Vectors; vector++)
            {
                AssemblerRegisterZMM sum = Zmm((row * Vectors) + vector);
                if (Chains == 2)
                {
                    c.vpaddd(sum, sum, Zmm(Sums + (row * Vectors) + vector));
                }

                c.vcvtdq2ps(sum, sum);
                if (_format == WeightFormat.NF4)
                {
                    c.vfmadd213ps(sum, factor, start);
                }
                else
                {
                    c.vmulps(sum, sum, factor);
                }

                if (KeepsFloats)
                {
                    c.vfmadd231ps(Zmm(FirstFloat + (row * Vectors) + vector), sum, Zmm(FirstWeight + vector));
                }
                else
                {
                    c.vfmadd213ps(sum, Zmm(FirstWeight + vector), Result(row, vector));
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
