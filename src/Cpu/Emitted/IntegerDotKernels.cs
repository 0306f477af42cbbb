using System.Runtime.InteropServices;
using Iced.Intel;
using InferenceServer.Cpu.Weights;
using InferenceServer.Tensors;
using static Iced.Intel.AssemblerRegisters;
using static InferenceServer.Cpu.Emitted.KernelParts;

namespace InferenceServer.Cpu.Emitted;

/// <summary>
/// Up to six rows of x times one or two panels of 32 columns of weights, both as integers with scales: int8 by vpdpwssd on 16 bits, NF4 by vpdpbusd on 8.
/// For each group of inputs that share a scale the integers are summed exactly, in 32 bits; then
/// <c>c[r, n] += float(xStart[r] + sum) * (weightScale[n] * xMantissa[r] * 2^xExponent[r])</c>, group by group: rounded at the conversion (sums of more
/// than 24 bits), at the first product of scales and at the sum. The start, of NF4 only, takes out what unsigned bytes of weights add.
/// </summary>
/// <remarks>
/// Sums of integers have no order, so any other way to form them has the same bits. The codes become integers in registers, shared by all rows.
/// A few rows are bound by memory: two panels are two streams of it, and the sums of floats of more than three rows rest in the result. Of many
/// rows, products take all that the processor has for them, so that nothing else may run where they do: one panel leaves room for the sums of
/// floats in registers, and the scales of NF4 come multiplied by each mantissa already.
/// </remarks>
internal sealed class IntegerDotKernels
{
    /// <summary>Most rows of a call.</summary>
    public const int MaxRows = RowPointers.MaxRows;

    /// <summary>Floats from one row of the result to the next.</summary>
    public const int ResultStride = 2 * PanelLayout.Width;

    /// <summary>Most rows whose sums of floats find room in the registers.</summary>
    private const int MaxRegisterRows = 3;

    private const int Int8Shapes = 2;
    private const int Ways = (int)CodesAhead.Far + 1;
    private const int MaxChainedRows = 2;
    private const int VectorsPerPanel = 2;

    /// <summary>Bytes of x that a product takes in a lane: two inputs of 16 bits or four of 8.</summary>
    private const int StepBytes = 4;

    private const int GroupSteps = QuantizeRows.GroupBytes / StepBytes;
    private const int PairBytes = 2 * PanelLayout.Width;
    private const int WordSteps = NF4Panels.WordDepth / StepBytes;

    private static readonly int s_exponent = (int)Marshal.OffsetOf<GroupFactor>(nameof(GroupFactor.Exponent));
    private static readonly int s_start = (int)Marshal.OffsetOf<GroupFactor>(nameof(GroupFactor.Start));
    private static readonly int s_mantissa = (int)Marshal.OffsetOf<GroupFactor>(nameof(GroupFactor.Mantissa));
    private static readonly int s_scaleOffset = (int)Marshal.OffsetOf<GroupFactor>(nameof(GroupFactor.ScaleOffset));

    private readonly Assembler _code = new(64);
    private readonly WeightFormat _format;
    private readonly IntegerShape _shape;
    private readonly int _rows;
    private readonly CodesAhead _ahead;

    private IntegerDotKernels(WeightFormat format, IntegerShape shape, int rows, CodesAhead ahead)
    {
        _format = format;
        _shape = shape;
        _rows = rows;
        _ahead = ahead;
    }

    private int Vectors => _shape == IntegerShape.TwoPanels ? 2 * VectorsPerPanel : VectorsPerPanel;

    private int Sums => _rows * Vectors;

    /// <summary>Sums of integers of the same element: few rows need more of them under way to hide the latency of a product.</summary>
    private int Chains => _shape == IntegerShape.TwoPanels && _rows <= MaxChainedRows ? 2 : 1;

    private int FirstFloat => Chains * Sums;

    /// <summary>First of the weights; the sums of integers and those of floats come before.</summary>
    private int FirstWeight => FirstFloat + (KeepsFloats ? Sums : 0);

    private bool KeepsFloats => _shape != IntegerShape.TwoPanels || _rows <= MaxRegisterRows;

    /// <summary>Two of them in turn, so that the next broadcast does not wait for the last products.</summary>
    private int FirstFactor => FirstWeight + Vectors;

    /// <summary>Bytes of a block of weights, codes and scales.</summary>
    private int BlockStride => _format == WeightFormat.Int8 ? Int8Panels.Stride : NF4Panels.Stride;

    /// <summary>Cache lines of a block that are not asked for beside its codes: those of its scales.</summary>
    private int ScaleLines => (BlockStride / VectorBytes) - GroupSteps;

    private static AssemblerRegisterZMM Table => Zmm(31);

    /// <summary>A kernel for each format, shape, number of rows and way to ask for codes ahead.</summary>
    public static IReadOnlyList<Assembler> Assemblers()
    {
        List<Assembler> kernels = [];
        foreach (WeightFormat format in new[] { WeightFormat.Int8, WeightFormat.NF4 })
        {
            foreach (IntegerShape shape in Shapes(format))
            {
                for (int rows = 1; rows <= MaxRows; rows++)
                {
                    foreach (CodesAhead ahead in Enum.GetValues<CodesAhead>())
                    {
                        kernels.Add(new IntegerDotKernels(format, shape, rows, ahead).Emit());
                    }
                }
            }
        }

        return kernels;
    }

    /// <summary>Place in <see cref="Assemblers"/>.</summary>
    public static int Index(WeightFormat format, IntegerShape shape, int rows, CodesAhead ahead) =>
        (((((format == WeightFormat.Int8 ? 0 : Int8Shapes) + (int)shape) * MaxRows) + rows - 1) * Ways) + (int)ahead;

    private static IntegerShape[] Shapes(WeightFormat format) => format == WeightFormat.Int8
        ? [IntegerShape.TwoPanels, IntegerShape.Panel]
        : [IntegerShape.TwoPanels, IntegerShape.Panel, IntegerShape.ScaledPanel];

    private Assembler Emit()
    {
        Assembler c = _code;
        c.push(rbx);
        c.push(rbp);
        c.push(r12);
        c.push(r14);
        c.push(r15);
        RowPointers x = new(rax, rsi, rdx);
        RowPointers xFactors = new(r8, r10, r11);
        x.Load(c, rdi, Offset(nameof(DotArguments.X)), Offset(nameof(DotArguments.XStride)));
        xFactors.Load(c, rdi, Offset(nameof(DotArguments.XFactors)), Offset(nameof(DotArguments.XFactorStride)));
        c.mov(rcx, Field(nameof(DotArguments.B0)));
        c.mov(r12, Field(nameof(DotArguments.B1)));
        c.mov(rbx, Field(nameof(DotArguments.BScales)));
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
        EmitGroup(x, xFactors);
        EmitScales(xFactors);
        x.Advance(c, QuantizeRows.GroupBytes);
        xFactors.Advance(c, Marshal.SizeOf<GroupFactor>());

        c.add(rcx, BlockStride);
        c.add(r12, BlockStride);
        c.add(rbx, ScaleMantissas.GroupBytes);
        c.add(r14, _ahead == CodesAhead.Far ? BlockStride / 2 : BlockStride);
        c.add(r15, _ahead == CodesAhead.Far ? BlockStride / 2 : BlockStride);
        c.dec(r9);
        c.jne(loop);
        if (KeepsFloats)
        {
            EndSums(c, _rows, Vectors, FirstFloat);
        }

        c.vzeroupper();
        c.pop(r15);
        c.pop(r14);
        c.pop(r12);
        c.pop(rbp);
        c.pop(rbx);
        c.ret();
        return c;
    }

    private void EmitGroup(RowPointers x, RowPointers xFactors)
    {
        EmitStarts(xFactors);
        for (int step = 0; step < GroupSteps; step++)
        {
            EmitWeights(rcx, step, FirstWeight);
            EmitPrefetch(r14, step);
            if (_shape == IntegerShape.TwoPanels)
            {
                EmitWeights(r12, step, FirstWeight + VectorsPerPanel);
                EmitPrefetch(r15, step);
            }

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
        switch (_ahead)
        {
            case CodesAhead.Near:
                _code.prefetcht0(__byte_ptr[stream + (step * VectorBytes)]);
                break;
            case CodesAhead.Far when step % 2 == 0:
                _code.prefetcht1(__byte_ptr[stream + (step / 2 * VectorBytes)]);
                break;
        }
    }

    private void EmitStarts(RowPointers xFactors)
    {
        for (int i = 0; i < FirstFloat; i++)
        {
            int row = i / Vectors;
            if (_format == WeightFormat.Int8 || row >= _rows)
            {
                _code.vpxord(Zmm(i), Zmm(i), Zmm(i));
            }
            else if (i % Vectors == 0)
            {
                _code.vpbroadcastd(Zmm(i), xFactors.At(row, s_start));
            }
            else
            {
                _code.vmovdqa64(Zmm(i), Zmm(row * Vectors));
            }
        }
    }

    private void EmitScales(RowPointers xFactors)
    {
        for (int line = GroupSteps; line < GroupSteps + ScaleLines; line++)
        {
            EmitPrefetch(r14, line);
            if (_shape == IntegerShape.TwoPanels)
            {
                EmitPrefetch(r15, line);
            }
        }

        for (int vector = 0; _shape != IntegerShape.ScaledPanel && vector < Vectors; vector++)
        {
            EmitScale(vector);
        }

        for (int row = 0; row < _rows; row++)
        {
            if (_shape == IntegerShape.ScaledPanel)
            {
                _code.movsxd(r12, xFactors.Double(row, s_scaleOffset));
            }

            for (int vector = 0; vector < Vectors; vector++)
            {
                AssemblerRegisterZMM sum = Zmm((row * Vectors) + vector);
                AssemblerRegisterZMM scale = EmitProductOfScales(xFactors, row, vector);
                if (Chains == 2)
                {
                    _code.vpaddd(sum, sum, Zmm(Sums + (row * Vectors) + vector));
                }

                _code.vcvtdq2ps(sum, sum);
                if (KeepsFloats)
                {
                    _code.vfmadd231ps(Zmm(FirstFloat + (row * Vectors) + vector), sum, scale);
                }
                else
                {
                    _code.vfmadd213ps(sum, scale, Result(row, vector));
                    _code.vmovups(Result(row, vector), sum);
                }
            }
        }
    }

    /// <summary>The scales of the weights of a vector of columns, where its weights were.</summary>
    private void EmitScale(int vector)
    {
        Assembler c = _code;
        AssemblerMemoryOperand scales = (vector < VectorsPerPanel ? rcx : r12) + QuantizedPanels.BlockBytes;
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

    /// <summary>The scales of the weights times that of x.</summary>
    private AssemblerRegisterZMM EmitProductOfScales(RowPointers xFactors, int row, int vector)
    {
        AssemblerRegisterZMM product = Zmm(FirstFactor + (vector % 2));
        AssemblerRegisterZMM scale = Zmm(FirstWeight + vector);
        if (_shape == IntegerShape.ScaledPanel)
        {
            _code.vmovups(product, __zmmword_ptr[rbx + r12 + (vector * VectorBytes)]);
            scale = product;
        }
        else if (_format == WeightFormat.NF4)
        {
            _code.vmulps(product, scale, xFactors.ForLanes(row, s_mantissa));
            scale = product;
        }

        _code.vscalefps(product, scale, xFactors.ForLanes(row, s_exponent));
        return product;
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
