using Iced.Intel;

namespace InferenceServer.Cpu.Emitted;

/// <summary>The kernels that this processor can run, assembled once a process; absent ones leave the work to the vectors of .NET.</summary>
internal static unsafe class EmittedKernels
{
    private static readonly Lazy<EmittedCode?> s_bfloat16 = new(() => Assemble(
        ProcessorInstructions.HasBFloat16Dots, BFloat16DotKernels.Assemblers));

    private static readonly Lazy<EmittedCode?> s_integers = new(() => Assemble(
        ProcessorInstructions.HasIntegerDots, IntegerDotKernels.Assemblers));

    /// <summary>Products of bf16 weights; null where there are none.</summary>
    public static nint[]? BFloat16Dots => s_bfloat16.Value?.Entries;

    /// <summary>Products of weights as integers; null where there are none.</summary>
    public static nint[]? IntegerDots => s_integers.Value?.Entries;

    /// <summary>Runs a kernel.</summary>
    /// <remarks>The garbage collector may run meanwhile: kernels see native memory only.</remarks>
    public static void Run(nint kernel, DotArguments* arguments) => ((delegate* unmanaged<DotArguments*, void>)kernel)(arguments);

    private static EmittedCode? Assemble(bool supported, Func<IReadOnlyList<Assembler>> kernels) =>
        supported ? EmittedCode.Assemble(kernels()) : null;
}
