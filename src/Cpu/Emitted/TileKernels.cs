using System.Runtime.InteropServices;
using InferenceServer.Cpu.Memory.Interop;

namespace InferenceServer.Cpu.Emitted;

/// <summary>The processor's own tiles.</summary>
internal sealed unsafe class TileKernels : ITileKernels
{
    private readonly EmittedCode _code;
    private readonly byte* _configuration;

    private TileKernels(EmittedCode code)
    {
        _code = code;

        // Lives as long as the process.
        const int Bytes = TileKernelCode.ConfigurationBytes;
        _configuration = (byte*)NativeMemory.AlignedAlloc(2 * Bytes, Bytes);
        TileKernelCode.WriteConfiguration(new Span<byte>(_configuration, Bytes));
        IntegerTileCode.WriteConfiguration(new Span<byte>(_configuration + Bytes, Bytes));
    }

    /// <summary>Assembles them; null where the system does not let new code run.</summary>
    public static TileKernels? Create()
    {
        EmittedCode? code = EmittedCode.Assemble(
        [
            TileKernelCode.Configure(), TileKernelCode.Release(), TileKernelCode.Narrow(), TileKernelCode.Square(),
            IntegerTileCode.Int8(), IntegerTileCode.NF4(), TileKernelCode.SquareAhead(), TileRowCode.Row(),
        ]);
        return code is null ? null : new TileKernels(code);
    }

    public void Begin() => Configure(_configuration);

    public void BeginIntegers() => Configure(_configuration + TileKernelCode.ConfigurationBytes);

    public void End() => ((delegate* unmanaged<void>)_code.Entries[1])();

    public void Narrow(DotArguments* arguments) => EmittedKernels.Run(_code.Entries[2], arguments);

    public void Square(DotArguments* arguments) => EmittedKernels.Run(_code.Entries[3], arguments);

    public void Row(DotArguments* arguments) => EmittedKernels.Run(_code.Entries[7], arguments);

    public void SquareAhead(DotArguments* arguments) => EmittedKernels.Run(_code.Entries[6], arguments);

    public void Int8(DotArguments* arguments) => EmittedKernels.Run(_code.Entries[4], arguments);

    public void NF4(DotArguments* arguments) => EmittedKernels.Run(_code.Entries[5], arguments);

    private void Configure(byte* shapes)
    {
        LinuxSignalStack.Enlarge();
        ((delegate* unmanaged<byte*, void>)_code.Entries[0])(shapes);
    }
}
