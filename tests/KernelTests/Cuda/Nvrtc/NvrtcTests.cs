using InferenceServer.Cuda.Compilation;
using Xunit;
using Xunit.Abstractions;

namespace InferenceServer.KernelTests.Cuda.Nvrtc;

/// <summary>Every kernel compiles for the devices that are served, within what a multiprocessor has.</summary>
public sealed class NvrtcTests
{
    /// <summary>What a thread can address; ptxas spills rather than take more, so that spills are the sharper bound.</summary>
    private const int MaxRegisters = 255;

    /// <summary>What a block has without asking the driver for more.</summary>
    private const int MaxStaticSharedBytes = 48 * 1024;

    private readonly ITestOutputHelper _output;

    public NvrtcTests(ITestOutputHelper output) => _output = output;

    public static TheoryData<string> Files => [.. KernelSources.Kernels.Keys];

    [NvrtcTheory(NvrtcRelease.System)]
    [MemberData(nameof(Files))]
    public void A_kernel_file_compiles_without_spills(string file) => Compile(RealNvrtc.OfSystem, file);

    [NvrtcTheory(NvrtcRelease.Trixie)]
    [MemberData(nameof(Files))]
    public void A_newer_compiler_compiles_a_kernel_file_without_spills(string file) => Compile(RealNvrtc.OfTrixie, file);

    [NvrtcTheory(NvrtcRelease.Cuda13)]
    [MemberData(nameof(Files))]
    public void CUDA_13s_compiler_compiles_a_kernel_file_without_spills(string file) => Compile(RealNvrtc.OfCuda13, file);

    private void Compile(RealNvrtc compiler, string file)
    {
        (string Architecture, int Status, string Log)[] compiled =
            [.. new[] { "sm_80", "sm_90" }.AsParallel().AsOrdered().Select(architecture =>
            {
                (int status, string log, _) = compiler.Compile(file, architecture);
                return (architecture, status, log);
            })];

        foreach ((string architecture, int status, string log) in compiled)
        {
            Assert.True(status == 0, $"{file} for {architecture} by {compiler.Version}:\n{log}");
            IReadOnlyList<KernelUsage> kernels = KernelUsage.OfLog(log);
            Assert.NotEmpty(kernels);
            foreach (KernelUsage usage in kernels)
            {
                _output.WriteLine($"{compiler.Version} {architecture} {usage}");
                Assert.True(
                    usage.SpillBytes == 0 && usage.Registers <= MaxRegisters && usage.SharedBytes <= MaxStaticSharedBytes,
                    $"{file} for {architecture} by {compiler.Version}: {usage}");
            }
        }
    }
}
