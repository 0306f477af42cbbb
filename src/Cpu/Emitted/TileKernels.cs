using System.Runtime.InteropServices;
using InferenceServer.Cpu.Memory.Interop;
using InferenceServer.Tensors;

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
        _configuration = (byte*)NativeMemory.AlignedAlloc(TileKernelCode.ConfigurationBytes, TileKernelCode.ConfigurationBytes);
        TileKernelCode.WriteConfiguration(new Span<byte>(_configuration, TileKernelCode.ConfigurationBytes));
    }

    /// <summary>Those of this machine; null where it has none, the system does not grant them, or they do not compute what they should.</summary>
    public static TileKernels? Own => s_own.Value;

    public void Begin() => ((delegate* unmanaged<byte*, void>)_code.Entries[0])(_configuration);

    public void End() => ((delegate* unmanaged<void>)_code.Entries[1])();

    public void Narrow(DotArguments* arguments) => EmittedKernels.Run(_code.Entries[2], arguments);

    public void Square(DotArguments* arguments) => EmittedKernels.Run(_code.Entries[3], arguments);

    private static TileKernels? Create()
    {
        if (!ProcessorInstructions.HasTiles || !LinuxTiles.Request())
        {
            return null;
        }

        EmittedCode? code = EmittedCode.Assemble(
            [TileKernelCode.Configure(), TileKernelCode.Release(), TileKernelCode.Narrow(), TileKernelCode.Square()]);
        TileKernels? kernels = code is null ? null : new TileKernels(code);
        return kernels is not null && TileCheck.Passes(kernels) ? kernels : null;
    }
}
