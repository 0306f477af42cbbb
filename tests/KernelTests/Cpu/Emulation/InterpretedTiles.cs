using System.Collections.Concurrent;
using System.Runtime.Intrinsics.X86;
using Iced.Intel;
using InferenceServer.Cpu.Emitted;
using InferenceServer.Tensors;

namespace InferenceServer.KernelTests.Cpu.Emulation;

/// <summary>The tile kernels, run by the interpreter, for each thread its own.</summary>
internal sealed unsafe class InterpretedTiles : ITileKernels
{
    private static readonly Lazy<EmittedCode?> s_row = new(() =>
        Avx512BW.IsSupported && OperatingSystem.IsLinux() ? EmittedCode.Assemble([TileRowCode.Row()]) : null);

    private readonly ConcurrentDictionary<int, Kernels> _kernels = [];

    private int _calls;

    /// <summary>Kernels run so far.</summary>
    public int Calls => _calls;

    private enum Shape
    {
        None,
        BFloat16,
        Integers,
    }

    public void Begin() => Own.Shape = Shape.BFloat16;

    public void BeginIntegers() => Own.Shape = Shape.Integers;

    public void End() => Own.Shape = Shape.None;

    public void Narrow(DotArguments* arguments) => Run(Shape.BFloat16, Own.Narrow, arguments);

    /// <summary>Not by the interpreter, which knows no vectors: by the processor where it has those, else by the formula.</summary>
    public void Row(DotArguments* arguments)
    {
        Interlocked.Increment(ref _calls);
        if (s_row.Value is { } code)
        {
            EmittedKernels.Run(code.Entries[0], arguments);
        }
        else
        {
            RowByFormula(arguments);
        }
    }

    /// <summary>What a tile holds for one row, pair by pair.</summary>
    public static void RowByFormula(DotArguments* arguments)
    {
        const int Columns = 64;
        const int Pairs = 16;
        for (int column = 0; column < Columns; column++)
        {
            float result = 0;
            for (int block = 0; block < arguments->Blocks; block++)
            {
                float* x = (float*)arguments->X + (block * 2 * Pairs);
                ushort* w = (ushort*)(column < Columns / 2 ? arguments->B0 : arguments->B1) + (block * Pairs * Columns) + (column % 32 / 16 * 512) + (column % 16 * 2);
                float first = 0;
                float second = 0;
                for (int pair = 0; pair < Pairs; pair++)
                {
                    first = Normal(MathF.FusedMultiplyAdd(Normal(x[2 * pair]), Normal(BFloat16.ToSingle(w[32 * pair])), first));
                    second = Normal(MathF.FusedMultiplyAdd(Normal(x[(2 * pair) + 1]), Normal(BFloat16.ToSingle(w[(32 * pair) + 1])), second));
                }

                result = Normal(result + Normal(first + second));
            }

            arguments->C[column] = result;
        }
    }

    private static float Normal(float value) => float.IsSubnormal(value) ? MathF.CopySign(0, value) : value;

    public void Square(DotArguments* arguments) => Run(Shape.BFloat16, Own.Square, arguments);

    public void SquareAhead(DotArguments* arguments) => Run(Shape.BFloat16, Own.SquareAhead, arguments);

    public void Int8(DotArguments* arguments) => Run(Shape.Integers, Own.Int8, arguments);

    public void NF4(DotArguments* arguments) => Run(Shape.Integers, Own.NF4, arguments);

    private Kernels Own => _kernels.GetOrAdd(Environment.CurrentManagedThreadId, _ => new Kernels());

    private void Run(Shape shape, TileInterpreter kernel, DotArguments* arguments)
    {
        if (Own.Shape != shape)
        {
            throw new InvalidOperationException($"the tiles of this thread are shaped for {Own.Shape}, not for {shape}");
        }

        Interlocked.Increment(ref _calls);
        kernel.Run(arguments);
    }

    private sealed class Kernels
    {
        private static readonly byte[] s_bfloat16 = Configuration(TileKernelCode.WriteConfiguration);
        private static readonly byte[] s_integers = Configuration(IntegerTileCode.WriteConfiguration);

        public Shape Shape { get; set; }

        public TileInterpreter Narrow { get; } = Interpreter(TileKernelCode.Narrow(), s_bfloat16);

        public TileInterpreter Square { get; } = Interpreter(TileKernelCode.Square(), s_bfloat16);

        public TileInterpreter SquareAhead { get; } = Interpreter(TileKernelCode.SquareAhead(), s_bfloat16);

        public TileInterpreter Int8 { get; } = Interpreter(IntegerTileCode.Int8(), s_integers);

        public TileInterpreter NF4 { get; } = Interpreter(IntegerTileCode.NF4(), s_integers);

        private static TileInterpreter Interpreter(Assembler kernel, byte[] configuration) => new(kernel, configuration);

        private static byte[] Configuration(Writer write)
        {
            byte[] bytes = new byte[TileKernelCode.ConfigurationBytes];
            write(bytes);
            return bytes;
        }
    }

    private delegate void Writer(Span<byte> target);
}
