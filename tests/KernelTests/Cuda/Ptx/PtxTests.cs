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
/// Each compiler's PTX is run in another order of warps and blocks. With <c>PTX_TESTS=all</c> CUDA 12's is run too, and whole training steps under every
/// order.
/// </summary>
[Collection(StandInCollection.Name)]
public sealed class PtxTests
{
    private const string Variable = "PTX_TESTS";
    private readonly bool _isThorough = Environment.GetEnvironmentVariable(Variable) == "all";
    private readonly ITestOutputHelper _output;

    public PtxTests(ITestOutputHelper output) => _output = output;

    [NvrtcFact(NvrtcRelease.System)]
    public void The_backends_tests_pass_on_PTX_for_sm_80() => RunAll(RealNvrtc.OfSystem, "compute_80", KernelSchedule.LaneOrder, contraction: 0);

    [NvrtcFact(NvrtcRelease.Trixie, Variable)]
    public void The_backends_tests_pass_on_CUDA_12s_PTX_for_sm_90() => RunAll(RealNvrtc.OfTrixie, "compute_90", KernelSchedule.Reverse, contraction: 1);

    [NvrtcFact(NvrtcRelease.Cuda13)]
    public void The_backends_tests_pass_on_CUDA_13s_PTX_for_sm_90() => RunAll(RealNvrtc.OfCuda13, "compute_90", KernelSchedule.Shuffled, contraction: 17);

    private void RunAll(RealNvrtc compiler, string architecture, KernelSchedule schedule, uint contraction)
    {
        List<string> failures = [];
        HashSet<string> run = new(StringComparer.Ordinal);
        int count = 0;
        StandIn.UseNvrtc(compiler.Folder, architecture);
        StandIn.ContractPtx(contraction);
        try
        {
            foreach (IGrouping<Type, KernelCheck> tests in KernelCheck.All(int.MaxValue).Where(IsAsked).GroupBy(check => check.Class))
            {
                Stopwatch watch = Stopwatch.StartNew();
                foreach (KernelCheck test in tests)
                {
                    StandIn.ResetCounters();
                    StandIn.SetSchedule(schedule);
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
            StandIn.ContractPtx(0);
        }

        string[] left = [.. StandIn.PtxKernels.Where(kernel => !run.Contains(kernel))];
        _output.WriteLine($"{compiler.Version}, {architecture}: {count} tests, {failures.Count} failed; {run.Count} kernels ran, {left.Length} of the modules' did not");
        Assert.True(failures.Count == 0, $"on PTX of NVRTC {compiler.Version} for {architecture}:\n{string.Join('\n', failures)}");
        Assert.NotEmpty(run);
        Assert.Empty(left);
    }

    private bool IsAsked(KernelCheck check) => _isThorough || check.Class != typeof(TrainingScheduleTests);
}
