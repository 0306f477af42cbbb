using InferenceServer.Cpu.Emitted;

namespace InferenceServer.KernelTests.Cpu.Emulation;

/// <summary>The tile kernels, run by the interpreter, one for each thread that asks.</summary>
internal sealed unsafe class InterpretedTiles : ITileKernels
{
    private readonly ThreadLocal<(TileInterpreter Narrow, TileInterpreter Square)> _kernels = new(
        () => (new TileInterpreter(TileKernelCode.Narrow()), new TileInterpreter(TileKernelCode.Square())));

    private readonly ThreadLocal<bool> _hasBegun = new();

    public void Begin() => _hasBegun.Value = true;

    public void End() => _hasBegun.Value = false;

    public void Narrow(DotArguments* arguments) => Run(_kernels.Value.Narrow, arguments);

    public void Square(DotArguments* arguments) => Run(_kernels.Value.Square, arguments);

    private void Run(TileInterpreter kernel, DotArguments* arguments)
    {
        if (!_hasBegun.Value)
        {
            throw new InvalidOperationException("the tiles of this thread are not configured");
        }

        kernel.Run(arguments);
    }
}
