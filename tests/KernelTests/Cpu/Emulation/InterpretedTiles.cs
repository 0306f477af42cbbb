using System.Collections.Concurrent;
using Iced.Intel;
using InferenceServer.Cpu.Emitted;

namespace InferenceServer.KernelTests.Cpu.Emulation;

/// <summary>The tile kernels, run by the interpreter, for each thread its own.</summary>
internal sealed unsafe class InterpretedTiles : ITileKernels
{
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
