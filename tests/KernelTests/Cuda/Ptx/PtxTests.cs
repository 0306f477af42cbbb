using System.Diagnostics;
using InferenceServer.KernelTests.Cuda.Mutations;
using InferenceServer.KernelTests.Cuda.Nvrtc;
using InferenceServer.KernelTests.Cuda.Training;
using InferenceServer.TestKit.Cuda;
using Xunit;
using Xunit.Abstractions;

namespace InferenceServer.KernelTests.Cuda.Ptx;

/// <summary>
/// The backend's tests on what NVIDIA's compilers make of the kernels: their PTX, interpreted (tests/CudaStandIn/ptx), in place of the kernels as host
/// C++. So the inline PTX is run as it stands, and the layout of parameters, the alignment and size of shared memory and all arithmetic are NVRTC's.
/// Of CUDA 12's a theory's first cases are enough, which is much like 11's. With <c>PTX_TESTS=all</c> all of them, and whole training steps, under every order of warps.
/// </summary>
[Collection(StandInCollection.Name)]
public sealed class PtxTests
{
    private const int CasesOfATheory = 2;
    private readonly bool _isThorough = Environment.GetEnvironmentVariable("PTX_TESTS") == "all";
    private readonly ITestOutputHelper _output;

    public PtxTests(ITestOutputHelper output) => _output = output;

    [NvrtcFact(NvrtcRelease.System)]
    public void The_backends_tests_pass_on_PTX_for_sm_80() => RunAll(RealNvrtc.OfSystem, "compute_80", int.MaxValue);

    [NvrtcFact(NvrtcRelease.Trixie)]
    public void The_backends_tests_pass_on_a_newer_compilers_PTX() => RunAll(RealNvrtc.OfTrixie, "compute_90", _isThorough ? int.MaxValue : CasesOfATheory);

    [NvrtcFact(NvrtcRelease.Cuda13)]
    public void The_backends_tests_pass_on_CUDA_13s_PTX_for_sm_90() => RunAll(RealNvrtc.OfCuda13, "compute_90", int.MaxValue);

    private void RunAll(RealNvrtc compiler, string architecture, int casesOfATheory)
    {
        List<string> failures = [];
        HashSet<string> run = new(StringComparer.Ordinal);
        int count = 0;
        StandIn.UseNvrtc(compiler.Folder, architecture);
        try
        {
            foreach (IGrouping<Type, KernelCheck> tests in KernelCheck.All(casesOfATheory).Where(IsAsked).GroupBy(check => check.Class))
            {
                Stopwatch watch = Stopwatch.StartNew();
                foreach (KernelCheck test in tests)
                {
                    StandIn.ResetCounters();
                    if (test.Run() is { } failure)
                    {
                        failures.Add($"{test.Name}: {failure}");
                    }

                    run.UnionWith(StandIn.KernelRuns.Keys);
                    count++;
                }

                _output.WriteLine($"{watch.Elapsed.TotalSeconds:F1} s {tests.Key.Name}, {tests.Count()} tests");
            }
        }
        finally
        {
            StandIn.UseNvrtc("", "");
        }

        string[] left = [.. StandIn.PtxKernels.Where(kernel => !run.Contains(kernel))];
        _output.WriteLine($"{compiler.Version}, {architecture}: {count} tests, {failures.Count} failed; {run.Count} kernels ran, {left.Length} of the modules' did not");
        Assert.True(failures.Count == 0, $"on PTX of NVRTC {compiler.Version} for {architecture}:\n{string.Join('\n', failures)}");
        Assert.NotEmpty(run);
        if (casesOfATheory == int.MaxValue)
        {
            Assert.Empty(left);
        }
    }

    private bool IsAsked(KernelCheck check) => _isThorough || check.Class != typeof(TrainingScheduleTests);
}
