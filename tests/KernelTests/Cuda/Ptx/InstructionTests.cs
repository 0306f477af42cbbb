using System.Globalization;
using InferenceServer.KernelTests.Cuda.StandIns;
using InferenceServer.TestKit.Cuda;
using Xunit;

namespace InferenceServer.KernelTests.Cuda.Ptx;

/// <summary>Instructions do to known bits what the PTX manual says; the results were worked out by hand.</summary>
[Collection(StandInCollection.Name)]
public sealed class InstructionTests
{
    /// <summary>Sources are %r2, %r3, %r4 (or the same bits as %f2, %f3, %f4); the result is %r5 or %f5.</summary>
    [StandInTheory]
    [InlineData("mul.hi.s32 %r5, %r2, %r3;", "80000000 00000003 0", "fffffffe")]
    [InlineData("mul.hi.u32 %r5, %r2, %r3;", "80000000 00000003 0", "00000001")]
    [InlineData("mad.lo.s32 %r5, %r2, %r3, %r4;", "ffffffff 00000007 3", "fffffffc")]
    [InlineData("div.s32 %r5, %r2, %r3;", "fffffff9 00000002 0", "fffffffd")]
    [InlineData("rem.s32 %r5, %r2, %r3;", "fffffff9 00000002 0", "ffffffff")]
    [InlineData("div.u32 %r5, %r2, %r3;", "fffffff9 00000002 0", "7ffffffc")]
    [InlineData("min.s32 %r5, %r2, %r3;", "ffffffff 00000001 0", "ffffffff")]
    [InlineData("max.u32 %r5, %r2, %r3;", "ffffffff 00000001 0", "ffffffff")]
    [InlineData("shr.s32 %r5, %r2, %r3;", "80000000 00000028 0", "ffffffff")]
    [InlineData("shr.u32 %r5, %r2, %r3;", "80000000 00000020 0", "00000000")]
    [InlineData("shl.b32 %r5, %r2, %r3;", "00000001 00000020 0", "00000000")]
    [InlineData("shf.l.wrap.b32 %r5, %r2, %r3, %r4;", "80000001 0000000f 24", "000000f8")]
    [InlineData("shf.r.clamp.b32 %r5, %r2, %r3, %r4;", "80000001 0000000f 28", "0000000f")]
    [InlineData("lop3.b32 %r5, %r2, %r3, %r4, 0xea;", "0000ff0f 00000ff0 80000000", "80000f00")]
    [InlineData("prmt.b32 %r5, %r2, %r3, %r4;", "33221100 77665588 00007654", "77665588")]
    [InlineData("prmt.b32 %r5, %r2, %r3, %r4;", "33221100 77665588 0000c10f", "ff110000")]
    [InlineData("bfi.b32 %r5, %r2, %r3, 8, 4;", "ffffff05 12345678 0", "12345578")]
    [InlineData("bfe.u32 %r5, %r2, 4, 8;", "12345678 0 0", "00000067")]
    [InlineData("bfe.s32 %r5, %r2, 4, 4;", "0000008f 0 0", "fffffff8")]
    [InlineData("bfind.u32 %r5, %r2;", "00008000 0 0", "0000000f")]
    [InlineData("bfind.shiftamt.u32 %r5, %r2;", "00008000 0 0", "00000010")]
    [InlineData("bfind.s32 %r5, %r2;", "ffffff00 0 0", "00000007")]
    [InlineData("clz.b32 %r5, %r2;", "00000000 0 0", "00000020")]
    [InlineData("popc.b32 %r5, %r2;", "f00f0001 0 0", "00000009")]
    [InlineData("brev.b32 %r5, %r2;", "00000013 0 0", "c8000000")]
    [InlineData("min.f32 %f5, %f2, %f3;", "7fc00000 40000000 0", "40000000")]
    [InlineData("max.f32 %f5, %f2, %f3;", "80000000 00000000 0", "00000000")]
    [InlineData("min.f32 %f5, %f2, %f3;", "00000000 80000000 0", "80000000")]
    [InlineData("add.f32 %f5, %f2, %f3;", "7f800000 ff800000 0", "7fffffff")]
    [InlineData("fma.rn.f32 %f5, %f2, %f3, %f4;", "3f800001 3f800001 bf800002", "28800000")]
    [InlineData("fma.rm.f32 %f5, %f2, %f3, %f4;", "3f800001 3f800001 00000000", "3f800002")]
    [InlineData("fma.rp.f32 %f5, %f2, %f3, %f4;", "3f800001 3f800001 00000000", "3f800003")]
    [InlineData("mul.ftz.f32 %f5, %f2, %f3;", "00800000 3f000000 0", "00000000")]
    [InlineData("mul.f32 %f5, %f2, %f3;", "00800000 3f000000 0", "00400000")]
    [InlineData("copysign.f32 %f5, %f2, %f3;", "80000000 40400000 0", "c0400000")]
    [InlineData("div.rn.f32 %f5, %f2, %f3;", "3f800000 40400000 0", "3eaaaaab")]
    [InlineData("cvt.rzi.s32.f32 %r5, %f2;", "cf800000 0 0", "80000000")]
    [InlineData("cvt.rzi.s32.f32 %r5, %f2;", "7fc00000 0 0", "00000000")]
    [InlineData("cvt.rni.s32.f32 %r5, %f2;", "40200000 0 0", "00000002")]
    [InlineData("cvt.rzi.u32.f32 %r5, %f2;", "bf800000 0 0", "00000000")]
    [InlineData("cvt.rpi.f32.f32 %f5, %f2;", "3f8ccccd 0 0", "40000000")]
    [InlineData("cvt.sat.f32.f32 %f5, %f2;", "7fc00000 0 0", "00000000")]
    [InlineData("cvt.sat.f32.f32 %f5, %f2;", "40000000 0 0", "3f800000")]
    [InlineData("cvt.rn.f32.s32 %f5, %r2;", "01000001 0 0", "4b800000")]
    [InlineData("cvt.rn.f32.u32 %f5, %r2;", "ffffffff 0 0", "4f800000")]
    [InlineData("cvt.u16.u32 %h1, %r2; cvt.s32.s16 %r5, %h1;", "1234fffe 0 0", "fffffffe")]
    [InlineData("cvt.s16.s8 %h1, %r2; cvt.u32.u16 %r5, %h1;", "00000080 0 0", "0000ff80")]
    [InlineData("cvt.rn.bf16x2.f32 %r5, %f2, %f3;", "3f800000 40008000 0", "3f804000")]
    [InlineData("cvt.rn.bf16x2.f32 %r5, %f2, %f3;", "40018000 ffc12345 0", "40027fff")]
    [InlineData("cvt.rn.bf16.f32 %h1, %f2; cvt.u32.u16 %r5, %h1;", "3f808001 0 0", "00003f81")]
    [InlineData("fma.rn.bf16x2 %r5, %r2, %r3, %r4;", "3f814000 3f813f80 00013f80", "3f824040")]
    [InlineData("fma.rn.bf16x2 %r5, %r2, %r3, %r4;", "3f814000 3f814000 80014000", "3f8240c0")]
    [InlineData("ex2.approx.ftz.f32 %f5, %f2;", "c3010000 0 0", "00000000")]
    [InlineData("ex2.approx.ftz.f32 %f5, %f2;", "80000000 0 0", "3f800000")]
    [InlineData("setp.lt.f32 %p1, %f2, %f3; selp.b32 %r5, 1, 0, %p1;", "7fc00000 0 0", "00000000")]
    [InlineData("setp.ltu.f32 %p1, %f2, %f3; selp.b32 %r5, 1, 0, %p1;", "7fc00000 0 0", "00000001")]
    [InlineData("setp.ne.f32 %p1, %f2, %f3; selp.b32 %r5, 1, 0, %p1;", "7fc00000 0 0", "00000000")]
    [InlineData("setp.neu.f32 %p1, %f2, %f3; selp.b32 %r5, 1, 0, %p1;", "7fc00000 0 0", "00000001")]
    [InlineData("setp.lt.s32 %p1, %r2, %r3; selp.b32 %r5, 1, 0, %p1;", "ffffffff 0 0", "00000001")]
    [InlineData("setp.lt.u32 %p1, %r2, %r3; selp.b32 %r5, 1, 0, %p1;", "ffffffff 0 0", "00000000")]
    [InlineData("setp.ne.s32 %p1, %r3, 0; setp.eq.and.s32 %p2|%p3, %r2, 5, !%p1; selp.b32 %r6, 1, 0, %p2; selp.b32 %r7, 2, 0, %p3; or.b32 %r5, %r6, %r7;", "5 0 0", "00000001")]
    [InlineData("mov.b64 %rd9, {%r2, %r3}; shr.u64 %rd9, %rd9, 16; mov.b64 {%r5, %r6}, %rd9;", "11112222 33334444 0", "44441111")]
    [InlineData("cvt.s64.s32 %rd9, %r2; mul.lo.s64 %rd9, %rd9, %rd9; cvt.u32.u64 %r5, %rd9;", "fffffffd 0 0", "00000009")]
    [InlineData("mul.wide.s32 %rd9, %r2, %r3; shr.u64 %rd9, %rd9, 32; cvt.u32.u64 %r5, %rd9;", "ffffffff 1 0", "ffffffff")]
    [InlineData("mul.wide.u32 %rd9, %r2, %r3; shr.u64 %rd9, %rd9, 32; cvt.u32.u64 %r5, %rd9;", "ffffffff 1 0", "00000000")]
    [InlineData("cvt.f64.f32 %fd1, %f2; add.f64 %fd1, %fd1, 0d3E45798EE2308C3A; cvt.rn.f32.f64 %f5, %fd1;", "3f800000 0 0", "3f800000")]
    [InlineData("setp.eq.s32 %p1, %r2, 0; @%p1 mov.u32 %r5, 7; @!%p1 mov.u32 %r5, 8;", "0 0 0", "00000007")]
    public void An_instruction_gives_what_the_manual_says(string instructions, string sources, string result)
    {
        uint[] values = [.. sources.Split(' ').Select(word => uint.Parse(word, NumberStyles.HexNumber, CultureInfo.InvariantCulture))];
        string toResult = instructions.Contains("%f5", StringComparison.Ordinal) ? "mov.b32 %r5, %f5;" : "";
        using SampleKernels kernels = SampleKernels.OfPtx(PtxSource.Kernel($$"""
            ld.global.u32 %r2, [%rd1];
            ld.global.v2.u32 {%r3, %r4}, [%rd1+8];
            mov.b32 %f2, %r2;
            mov.b32 %f3, %r3;
            mov.b32 %f4, %r4;
            { {{instructions}} }
            {{toResult}}
            add.s64 %rd4, %rd2, %rd3;
            st.global.u32 [%rd4], %r5;
            """));
        ulong x = kernels.Upload<uint>([values[0], 0, values[1], values[2]]), y = kernels.Allocate(33 * sizeof(uint));

        kernels.Run("k", 1, 33, x, y);

        Assert.All(kernels.Download<uint>(y, 33), actual => Assert.Equal(result, actual.ToString("x8", CultureInfo.InvariantCulture)));
    }

    /// <summary>The square of 1 + 2^-23 has 2^-46 more than its f32, which is 1 + 2^-22.</summary>
    [StandInTheory]
    [InlineData("sub.f32 %f5, %f3, %f4;", 0f, 1.4210855e-14f)]
    [InlineData("sub.f32 %f5, %f4, %f3;", 0f, -1.4210855e-14f)]
    [InlineData("neg.f32 %f4, %f4; add.f32 %f5, %f4, %f3;", 0f, 1.4210855e-14f)]
    [InlineData("sub.rn.f32 %f5, %f3, %f4;", 0f, 0f)]
    [InlineData("mov.f32 %f2, 0f00000000; sub.f32 %f5, %f3, %f4;", 0f, 0f)]
    public void A_product_and_its_sum_are_fused_where_ptxas_may(string instructions, float apart, float fused)
    {
        foreach ((uint contraction, float expected) in new[] { (0u, apart), (1u, fused) })
        {
            StandIn.ContractPtx(contraction);
            using SampleKernels kernels = SampleKernels.OfPtx(PtxSource.Kernel($$"""
                mov.f32 %f2, 0f3F800001;
                mov.f32 %f4, 0f3F800002;
                mul.f32 %f3, %f2, %f2;
                {{instructions}}
                st.global.f32 [%rd2], %f5;
                """));
            StandIn.ContractPtx(0);
            ulong y = kernels.Allocate(sizeof(float));

            kernels.Run("k", 1, 1, y, y);

            Assert.Equal(expected, kernels.Download<float>(y, 1)[0]);
        }
    }

    [StandInFact]
    public void Lanes_that_a_branch_parts_meet_again_and_each_goes_its_own_way()
    {
        // Collatz: every lane loops as often as its number takes, and a ballot behind the loop finds all of them.
        using SampleKernels kernels = SampleKernels.OfPtx(PtxSource.Kernel("""
            add.s32 %r2, %r1, 1;
            mov.u32 %r3, 0;
            $loop:
            setp.eq.s32 %p1, %r2, 1;
            @%p1 bra $done;
            add.s32 %r3, %r3, 1;
            and.b32 %r4, %r2, 1;
            setp.eq.s32 %p2, %r4, 0;
            @%p2 bra $even;
            mad.lo.s32 %r2, %r2, 3, 1;
            bra.uni $loop;
            $even:
            shr.u32 %r2, %r2, 1;
            bra.uni $loop;
            $done:
            vote.sync.ballot.b32 %r5, %p1, -1;
            popc.b32 %r5, %r5;
            shl.b32 %r5, %r5, 16;
            or.b32 %r3, %r3, %r5;
            add.s64 %rd4, %rd2, %rd3;
            st.global.u32 [%rd4], %r3;
            """));
        ulong y = kernels.Allocate(32 * sizeof(int));

        kernels.Run("k", 1, 32, y, y);

        static int Steps(int n) => n == 1 ? 0 : 1 + Steps(n % 2 == 0 ? n / 2 : (3 * n) + 1);
        Assert.Equal([.. Enumerable.Range(1, 32).Select(n => Steps(n) | (32 << 16))], kernels.Download<int>(y, 32));
    }

    [StandInTheory]
    [InlineData("bfly", "%r9", 1, 0x1f, 5, 4)]
    [InlineData("up", "%r9", 3, 0, 5, 2)]
    [InlineData("up", "%r9", 3, 0, 2, 2)]
    [InlineData("down", "%r9", 30, 0x1f, 1, 31)]
    [InlineData("down", "%r9", 30, 0x1f, 2, 2)]
    [InlineData("idx", "%r9", 7, 0x1f, 20, 7)]
    [InlineData("idx", "%r9", 3, 0x181f, 21, 19)]
    [InlineData("down", "%r9", 2, 0x1c1f, 5, 7)]
    [InlineData("down", "%r9", 2, 0x1c1f, 6, 6)]
    public void A_shuffle_takes_from_the_lane_that_the_manual_says(string mode, string source, int by, int clamp, int lane, int from)
    {
        using SampleKernels kernels = SampleKernels.OfPtx(PtxSource.Kernel($"""
            mov.u32 %r9, %laneid;
            shfl.sync.{mode}.b32 %r5|%p1, {source}, {by}, {clamp}, -1;
            add.s64 %rd4, %rd2, %rd3;
            st.global.u32 [%rd4], %r5;
            """));
        ulong y = kernels.Allocate(32 * sizeof(int));

        kernels.Run("k", 1, 32, y, y);

        Assert.Equal(from, kernels.Download<int>(y, 32)[lane]);
    }
}
