using InferenceServer.KernelTests.Cuda.StandIns;
using InferenceServer.Tensors;
using InferenceServer.TestKit.Cuda;
using Xunit;

namespace InferenceServer.KernelTests.Cuda.Ptx;

/// <summary>ldmatrix and mma.sync: what lies where in the registers, after the manual's figures.</summary>
[Collection(StandInCollection.Name)]
public sealed class MatrixInstructionTests
{
    /// <summary>
    /// Every element of A, B and C is another small integer, so that the product is exact and any two that change places change it.
    /// </summary>
    [StandInFact]
    public void A_product_of_fragments_is_that_of_the_matrices()
    {
        float[,] a = new float[16, 16], b = new float[16, 8], c = new float[16, 8];
        for (int row = 0; row < 16; row++)
        {
            for (int column = 0; column < 16; column++)
            {
                a[row, column] = ((row * 37) + (column * 11)) % 101;
                if (column < 8)
                {
                    b[row, column] = ((row * 29) + (column * 17)) % 89;
                    c[row, column] = (row * 1000) + column;
                }
            }
        }

        // Figures of mma.m16n8k16: of thread T of a group G, A's registers are rows G and G + 8 at columns 2 T, then the same 8 columns on.
        uint[] fragments = new uint[32 * 10];
        for (int lane = 0; lane < 32; lane++)
        {
            int group = lane >> 2, thread = lane & 3;
            uint PairOfA(int row, int column) => Pair(a[row, column], a[row, column + 1]);
            uint PairOfB(int row) => Pair(b[row, group], b[row + 1, group]);
            uint[] own =
            [
                PairOfA(group, 2 * thread), PairOfA(group + 8, 2 * thread), PairOfA(group, (2 * thread) + 8), PairOfA(group + 8, (2 * thread) + 8),
                PairOfB(2 * thread), PairOfB((2 * thread) + 8),
                Bits(c[group, 2 * thread]), Bits(c[group, (2 * thread) + 1]), Bits(c[group + 8, 2 * thread]), Bits(c[group + 8, (2 * thread) + 1]),
            ];
            own.CopyTo(fragments, lane * 10);
        }

        string loads = string.Concat(Enumerable.Range(0, 10).Select(i => $"ld.global.b32 {(i < 6 ? "%r" : "%f")}{10 + i}, [%rd5+{4 * i}];\n"));
        string stores = string.Concat(Enumerable.Range(0, 4).Select(i => $"st.global.f32 [%rd7+{4 * i}], %f{20 + i};\n"));
        using SampleKernels kernels = SampleKernels.OfPtx(PtxSource.Kernel($$"""
            mul.lo.s64 %rd4, %rd3, 10;
            add.s64 %rd5, %rd1, %rd4;
            {{loads}}
            mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%f20,%f21,%f22,%f23}, {%r10,%r11,%r12,%r13}, {%r14,%r15}, {%f16,%f17,%f18,%f19};
            mul.lo.s64 %rd6, %rd3, 4;
            add.s64 %rd7, %rd2, %rd6;
            {{stores}}
            """));
        ulong x = kernels.Upload<uint>(fragments), y = kernels.Allocate(32 * 4 * sizeof(float));
        kernels.Run("k", 1, 32, x, y);
        float[] d = kernels.Download<float>(y, 32 * 4);

        for (int row = 0; row < 16; row++)
        {
            for (int column = 0; column < 8; column++)
            {
                float expected = c[row, column];
                for (int k = 0; k < 16; k++)
                {
                    expected += a[row, k] * b[k, column];
                }

                int lane = (4 * (row % 8)) + (column / 2);
                Assert.Equal(expected, d[(4 * lane) + (2 * (row / 8)) + (column % 2)]);
            }
        }
    }

    [StandInTheory]
    [InlineData(false)]
    [InlineData(true)]
    public void Four_matrices_are_loaded_row_by_row_of_the_lanes_addresses(bool isTransposed)
    {
        // Element c of row r of matrix m is 64 m + 8 r + c; the rows lie in shared memory the last one first, 32 bytes apart.
        string form = isTransposed ? ".trans" : "";
        using SampleKernels kernels = SampleKernels.OfPtx(PtxSource.Kernel($$"""
            .shared .align 16 .b8 rows[1024];
            mov.u32 %r2, rows;
            sub.s32 %r3, 31, %r1;
            mad.lo.s32 %r3, %r3, 32, %r2;
            mul.lo.s32 %r4, %r1, 0x80008;
            add.s32 %r4, %r4, 0x10000;
            st.shared.b32 [%r3], %r4;
            add.s32 %r5, %r4, 0x20002;
            st.shared.b32 [%r3+4], %r5;
            add.s32 %r5, %r4, 0x40004;
            st.shared.b32 [%r3+8], %r5;
            add.s32 %r5, %r4, 0x60006;
            st.shared.b32 [%r3+12], %r5;
            bar.sync 0;
            ldmatrix.sync.aligned.m8n8.x4{{form}}.shared.b16 {%r10,%r11,%r12,%r13}, [%r3];
            mul.lo.s64 %rd4, %rd3, 4;
            add.s64 %rd5, %rd2, %rd4;
            st.global.v4.b32 [%rd5], {%r10, %r11, %r12, %r13};
            """));
        ulong y = kernels.Allocate(32 * 16);
        kernels.Run("k", 1, 32, y, y);
        ushort[] values = kernels.Download<ushort>(y, 32 * 8);

        for (int lane = 0; lane < 32; lane++)
        {
            for (int i = 0; i < 8; i++)
            {
                int matrix = i / 2, major = lane / 4, minor = (2 * (lane % 4)) + (i % 2);
                Assert.Equal((64 * matrix) + (isTransposed ? (8 * minor) + major : (8 * major) + minor), values[(8 * lane) + i]);
            }
        }
    }

    private static uint Pair(float low, float high) => BFloat16.FromSingle(low) | ((uint)BFloat16.FromSingle(high) << 16);

    private static uint Bits(float value) => BitConverter.SingleToUInt32Bits(value);
}
