using System.Runtime.InteropServices;
using InferenceServer.Cpu.Memory.Interop;

namespace InferenceServer.Cpu.Emitted;

/// <summary>The processor's own tiles.</summary>
internal sealed unsafe class TileKernels : ITileKernels
{
    private static readonly Lazy<TileKernels?> s_own = new(Create);

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

    /// <summary>Those of this machine; null where it has none, the system does not grant them, or they do not compute what they should.</summary>
    public static TileKernels? Own => s_own.Value;

    public void Begin() => ((delegate* unmanaged<byte*, void>)_code.Entries[0])(_configuration);

    public void BeginIntegers() =>
        ((delegate* unmanaged<byte*, void>)_code.Entries[0])(_configuration + TileKernelCode.ConfigurationBytes);

    public void End() => ((delegate* unmanaged<void>)_code.Entries[1])();

    public void Narrow(DotArguments* arguments) => EmittedKernels.Run(_code.Entries[2], arguments);

    public void Square(DotArguments* arguments) => EmittedKernels.Run(_code.Entries[3], arguments);

    public void Int8(DotArguments* arguments) => EmittedKernels.Run(_code.Entries[4], arguments);

    public void NF4(DotArguments* arguments) => EmittedKernels.Run(_code.Entries[5], arguments);

    private static TileKernels? Create()
    {
        if (!ProcessorInstructions.HasTiles || !LinuxTiles.Request())
        {
            return null;
        }

        EmittedCode? code = EmittedCode.Assemble(
        [
            TileKernelCode.Configure(), TileKernelCode.Release(), TileKernelCode.Narrow(), TileKernelCode.Square(),
            IntegerTileCode.Int8(), IntegerTileCode.NF4(),
        ]);
        TileKernels? kernels = code is null ? null : new TileKernels(code);
        return kernels is not null && TileCheck.Passes(kernels) && IntegerTileCheck.Passes(kernels) ? kernels : null;
    }
}
