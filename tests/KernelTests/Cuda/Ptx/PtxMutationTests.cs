using System.Diagnostics;
using InferenceServer.KernelTests.Cuda.Mutations;
using InferenceServer.KernelTests.Cuda.Nvrtc;
using InferenceServer.TestKit.Cuda;
using Xunit;
using Xunit.Abstractions;

namespace InferenceServer.KernelTests.Cuda.Ptx;

/// <summary>
/// The inline PTX of common.cuh and what else only a GPU sees of the kernels is as it must be: with one thing of it
/// changed a test of the backend fails.
/// </summary>
[Collection(StandInCollection.Name)]
public sealed class PtxMutationTests : IDisposable
{
    private readonly ITestOutputHelper _output;

    public PtxMutationTests(ITestOutputHelper output) => _output = output;

    [NvrtcTheory(NvrtcRelease.System)]
    [InlineData(typeof(AdapterTileTests), "mma.sync", @"(\}, \{%r\d+),(%r\d+),(%r\d+)", "$1,$3,$2")] // a1 and a2 change places
    [InlineData(typeof(AdapterTileTests), "mma.sync", @"(\}, \{)(%r\d+),(%r\d+)\},", "$1$3,$2},")] // b0 and b1
    [InlineData(typeof(AdapterTileTests), "mma.sync", @"f32 \{(%f\d+),(%f\d+),(%f\d+)", "f32 {$1,$3,$2")] // d1 and d2
    [InlineData(typeof(CudaPrefillOverBFloat16), "ldmatrix.sync.aligned.m8n8.x4.shared", "x4.shared", "x4.trans.shared")]
    [InlineData(typeof(CudaPrefillOverBFloat16), "ldmatrix.sync.aligned.m8n8.x4.trans", "x4.trans", "x4")]
    [InlineData(typeof(CudaPrefillOverBFloat16), "ldmatrix.sync.aligned.m8n8.x4.shared", @"\{(%r\d+),(%r\d+)", "{$2,$1")]
    [InlineData(typeof(CudaPrefillOverBFloat16), "ldmatrix.sync.aligned.m8n8.x4.trans", @"\{(%r\d+),(%r\d+)", "{$2,$1")]
    [InlineData(typeof(CudaMatMulConformance), "cp.async.cg", @", 16, (%r\d+)", ", 16, 16")] // rows that are not there are read
    [InlineData(typeof(CudaMatMulConformance), "cp.async.cg", @", 16, (%r\d+)", ", 16, 0")]
    [InlineData(typeof(CudaPrefillOverBFloat16), "cp.async.commit_group", "cp.async.commit_group", "membar.gl")]
    [InlineData(typeof(CudaPrefillOverBFloat16), "cp.async.wait_group", @"wait_group \d+", "wait_group 7")]
    [InlineData(typeof(AdapterTileTests), "cvt.rn.bf16x2.f32", @"(%f\d+), (%f\d+);", "$2, $1;")]
    [InlineData(typeof(CudaProductTests), "cvt.rn.bf16.f32", @"cvt.rn.bf16.f32 (%\w+), (%\w+);", "{ .reg .b32 %u; mov.b32 %u, $2; shr.u32 %u, %u, 16; cvt.u16.u32 $1, %u; }")] // cut off
    [InlineData(typeof(CudaMatMulConformance), "fma.rn.bf16x2", @"(%r\d+), (%r\d+), (%r\d+);", "$1, $3, $2;")]
    [InlineData(typeof(CudaMatMulConformance), "lop3.b32", "0xea", "0xca")]
    [InlineData(typeof(CudaPrefillOverBFloat16), "ex2.approx.ftz.f32", @"ex2.approx.ftz.f32 (%\w+), (%\w+);", "mov.f32 $1, $2;")]
    [InlineData(typeof(CudaPrefillOverBFloat16), "shfl.sync.bfly", "bfly", "down")]
    [InlineData(typeof(CudaAttentionOverBFloat16), "prmt.b32", @"(%r\d+), (%r\d+), (%r\d+);", "$2, $1, $3;")]
    [InlineData(typeof(CudaPrefillOverBFloat16), "bfi.b32", @", 3, 29;", ", 2, 29;")]
    [InlineData(typeof(AdapterTileTests), ".shared .align 16", "align 16", "align 4")]
    [InlineData(typeof(CudaPrefillOverBFloat16), ".extern .shared .align 16", "align 16", "align 8")]
    [InlineData(typeof(CudaPrefillOverBFloat16), "mul.wide.u32", @"mul.wide.u32 (.*), 4;", "mul.wide.u32 $1, 8;")]
    public void A_test_fails_when_the_PTX_is_changed(Type tests, string with, string what, string by)
    {
        StandIn.UseNvrtc(RealNvrtc.OfSystem.Folder, "compute_80");
        StandIn.EditPtx(with, what, by);
        Stopwatch watch = Stopwatch.StartNew();
        int count = 0;
        string? caught = null;
        foreach (KernelCheck test in KernelCheck.All(int.MaxValue).Where(check => check.Class == tests))
        {
            count++;
            if (test.Run() is { } failure)
            {
                caught = $"{test.Name}: {failure}";
                break;
            }
        }

        _output.WriteLine($"{with} {what} -> {by}: {caught ?? "SURVIVES"} ({count} tests, {watch.Elapsed.TotalSeconds:F1} s)");
        Assert.True(StandIn.PtxEdits > 0, "nothing was changed");
        Assert.NotNull(caught);
        Assert.DoesNotContain("INVALID_PTX", caught, StringComparison.Ordinal);
    }

    public void Dispose()
    {
        StandIn.EditPtx("", "", "");
        StandIn.UseNvrtc("", "");
    }
}
