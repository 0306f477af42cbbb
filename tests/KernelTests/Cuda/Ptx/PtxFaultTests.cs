using InferenceServer.Cuda;
using InferenceServer.KernelTests.Cuda.StandIns;
using InferenceServer.TestKit.Cuda;
using Xunit;

namespace InferenceServer.KernelTests.Cuda.Ptx;

/// <summary>The interpreter finds what PTX may not do, and names it.</summary>
[Collection(StandInCollection.Name)]
public sealed class PtxFaultTests
{
    private const int InvalidPtx = 218;
    private const int IllegalAddress = 700;
    private const int LaunchFailed = 719;

    [StandInTheory]
    [InlineData("ld.global.v4.f32 {%f1, %f2, %f3, %f4}, [%rd1+8];", LaunchFailed, "is not aligned to 16 bytes")]
    [InlineData("ld.global.f32 %f1, [%rd1+256];", IllegalAddress, "touched 4 bytes of byte 256 of device memory of 256 bytes")]
    [InlineData("ld.global.v2.f32 {%f1, %f2}, [%rd1+-8];", IllegalAddress, "8 bytes before device memory")]
    [InlineData("mov.u64 %rd5, 0; st.global.f32 [%rd5], 0f00000000;", IllegalAddress, "where there is no allocation")]
    [InlineData(".shared .align 4 .b8 s[128]; mov.u32 %r2, s; ld.shared.v2.f32 {%f1, %f2}, [%r2];", LaunchFailed, "is not aligned to 8 bytes")]
    [InlineData(".shared .align 16 .b8 s[128]; st.shared.f32 [s+128], 0f00000000;", LaunchFailed, "byte 128 of the shared array s of 128 bytes")]
    [InlineData("st.shared.f32 [dynamic+64], 0f00000000;", LaunchFailed, "byte 64 of the 64 bytes of dynamic shared memory")]
    [InlineData("setp.lt.u32 %p1, %r1, 16; @%p1 bra $other; bar.sync 0; bra $end; $other: bar.sync 1; $end:", LaunchFailed, "deadlock")]
    [InlineData("setp.eq.u32 %p1, %r1, 0; @%p1 bra $end; shfl.sync.bfly.b32 %r2, %r1, 1, 31, -1; $end:", LaunchFailed, "the member mask leaves out or which has ended")]
    [InlineData("shfl.sync.idx.b32 %r2, %r1, 20, 31, 65535;", LaunchFailed, "a member mask that leaves the lane out")]
    [InlineData("setp.lt.u32 %p1, %r1, 16; @%p1 ret; ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%r2}, [dynamic];", LaunchFailed, "ldmatrix in a warp of which lanes have ended")]
    [InlineData("cp.async.ca.shared.global [dynamic], [%rd1], 4; cp.async.commit_group;", LaunchFailed, "a cp.async that it has not waited for")]
    [InlineData("cp.async.cg.shared.global [dynamic], [%rd1+8], 16; cp.async.wait_all;", LaunchFailed, "not aligned to 16 bytes")]
    [InlineData("ld.global.nc.f32 %f1, [%rd1]; st.global.f32 [%rd1], %f1;", LaunchFailed, "writes what the launch reads by ld.global.nc")]
    [InlineData("st.global.f32 [%rd1], 0f00000000; ld.global.nc.f32 %f1, [%rd1];", LaunchFailed, "reads what the launch writes by ld.global.nc")]
    [InlineData("div.u32 %r2, %r1, 0;", LaunchFailed, "a division by zero")]
    [InlineData("trap;", LaunchFailed, "trap")]
    public void A_mistake_ends_the_kernel_and_is_named(string body, int code, string message)
    {
        using SampleKernels kernels = SampleKernels.OfPtx(PtxSource.Kernel(body, ".extern .shared .align 16 .b8 dynamic[];"));
        ulong x = kernels.Upload<float>(new float[64]), y = kernels.Allocate(256);

        Exception? failure = Record.Exception(() =>
        {
            kernels.Launch("k", 1, 32, 64, null, x, y);
            kernels.Stream.Synchronize();
        });

        CudaException thrown = Assert.IsType<CudaException>(failure?.GetBaseException());
        Assert.Equal(code, thrown.Code);
        Assert.Contains(message, StandIn.LastError, StringComparison.Ordinal);
        Assert.Contains("kernel k, block (0, 0, 0), ", StandIn.LastError, StringComparison.Ordinal);
    }

    [StandInTheory]
    [InlineData("wgmma.fence.sync.aligned;", "line 18, wgmma.fence.sync.aligned: the interpreter does not know this instruction")]
    [InlineData("add.s32 %r2, %rd1, 1;", "%rd1 has 64 bits, and 32 are meant")]
    [InlineData("add.s32 %r2, %q1, 1;", "%q1 is no register that is known")]
    [InlineData("ld.param.u64 %rd9, [k_param_0+4];", "reads beyond a parameter of 8 bytes")]
    [InlineData("bra $nowhere;", "no label $nowhere")]
    [InlineData("shfl.sync.bfly.b32.odd %r2, %r1, 1, 31, -1;", ".odd is not known here")]
    public void What_the_interpreter_does_not_know_is_refused_at_the_load_and_named(string body, string message)
    {
        CudaException thrown = Assert.Throws<CudaException>(() => SampleKernels.OfPtx(PtxSource.Kernel(body)));

        Assert.Equal(InvalidPtx, thrown.Code);
        Assert.Contains(message, thrown.Message, StringComparison.Ordinal);
    }

    [StandInFact]
    public void Blocks_are_under_way_at_once_where_their_order_is_by_chance()
    {
        // Every block adds to a word and then takes it, several times: alone it would see no other's additions between its own.
        using SampleKernels kernels = SampleKernels.OfPtx(PtxSource.Kernel("""
            mov.u32 %r2, %ctaid.x;
            mov.u32 %r5, 0;
            mov.u32 %r9, 0;
            $loop:
            atom.global.add.u32 %r3, [%rd1], 1;
            setp.eq.s32 %p1, %r9, 0;
            @%p1 bra $first;
            add.s32 %r4, %r8, 1;
            setp.ne.s32 %p2, %r3, %r4;
            @%p2 add.s32 %r5, %r5, 1;
            $first:
            mov.u32 %r8, %r3;
            add.s32 %r9, %r9, 1;
            setp.lt.s32 %p3, %r9, 400;
            @%p3 bra $loop;
            mul.wide.u32 %rd4, %r2, 4;
            add.s64 %rd5, %rd2, %rd4;
            st.global.u32 [%rd5], %r5;
            """));
        StandIn.SetSchedule(KernelSchedule.Shuffled);
        ulong x = kernels.Upload<uint>(new uint[64]), y = kernels.Allocate(8 * sizeof(uint));

        kernels.Launch("k", 8, 1, 0, null, x, y);
        kernels.Stream.Synchronize();

        Assert.Contains(kernels.Download<uint>(y, 8), interruptions => interruptions > 0);
        Assert.Equal(8u * 400, kernels.Download<uint>(x, 1)[0]);
    }

    [StandInFact]
    public void A_block_may_have_dynamic_shared_memory_beside_its_static_one_up_to_48_KiB_unless_it_asks_for_more()
    {
        using SampleKernels kernels = SampleKernels.OfPtx(PtxSource.Kernel(
            ".shared .align 16 .b8 s[1024]; st.shared.b32 [s], %r1; st.shared.b32 [dynamic], %r1;", ".extern .shared .align 16 .b8 dynamic[];"));
        ulong x = kernels.Allocate(256);

        kernels.Launch("k", 1, 32, 47 * 1024, null, x, x);
        kernels.Stream.Synchronize();
        CudaException thrown = Assert.Throws<CudaException>(() => kernels.Launch("k", 1, 32, (47 * 1024) + 4, null, x, x));

        Assert.Equal(1, thrown.Code);
        Assert.Contains("48132 bytes of dynamic shared memory, and 48128 are allowed", StandIn.LastError, StringComparison.Ordinal);
    }
}
