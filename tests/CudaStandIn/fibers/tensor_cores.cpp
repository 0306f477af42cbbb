#include "../shim/tensor_cores.h"
#include "../shim/maths.h"
#include "../shim/warp.h"

namespace
{
using shim::Deposits;

template <class D, int Rows> struct Fragment
{
    D d[4];
    unsigned a[Rows];
    unsigned b[2];
};

// d[0], d[1]: row lane/4, columns 2 (lane%4) and the next; d[2], d[3]: the same eight rows further down.
template <class F, class X, class D, int K> void multiply(Deposits all, X (*element)(unsigned word, int part))
{
    constexpr int PerWord = K >= 32 ? 4 : K == 16 ? 2 : 1;      // elements of A or B in a register
    X a[16][K], b[K][8];
    for (int lane = 0; lane < 32; lane++)
    {
        const F f = all.of<F>(lane);
        const int row = lane >> 2, first = (lane & 3) * PerWord;
        for (int part = 0; part < PerWord; part++)
        {
            for (int half = 0; half < 2; half++)                // the second half of k lies in registers 2, 3 of A and 1 of B
            {
                const int k = half * K / 2 + first + part;
                a[row][k] = element(f.a[2 * half], part);
                a[row + 8][k] = element(f.a[2 * half + 1], part);
                b[k][row] = element(f.b[half], part);
            }
        }
    }

    D sum[16][8];
    for (int lane = 0; lane < 32; lane++)
    {
        const F f = all.of<F>(lane);
        for (int i = 0; i < 4; i++)
        {
            sum[(lane >> 2) + 8 * (i >> 1)][2 * (lane & 3) + (i & 1)] = f.d[i];
        }
    }

    for (int row = 0; row < 16; row++)
    {
        for (int k = 0; k < K; k++)
        {
            for (int column = 0; column < 8; column++)
            {
                sum[row][column] += D(a[row][k]) * D(b[k][column]);
            }
        }
    }

    for (int lane = 0; lane < 32; lane++)
    {
        F f = all.of<F>(lane);
        for (int i = 0; i < 4; i++)
        {
            f.d[i] = sum[(lane >> 2) + 8 * (i >> 1)][2 * (lane & 3) + (i & 1)];
        }

        all.set(lane, f);
    }
}

float bf16_of(unsigned word, int part) { return __uint_as_float(part ? word & 0xffff0000u : word << 16); }
float tf32_of(unsigned word, int) { return __uint_as_float(word & 0xffffe000u); }   // the low 13 bits are not looked at
int s8_of(unsigned word, int part) { return int8_t(word >> 8 * part); }

using Bf16 = Fragment<float, 4>;
using Tf32 = Fragment<float, 4>;
using S8 = Fragment<int, 4>;

template <class D> void run(D (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2], const char* name, void (*combine)(Deposits))
{
    Fragment<D, 4> mine;
    memcpy(mine.d, d, sizeof d);
    memcpy(mine.a, a, sizeof a);
    memcpy(mine.b, b, sizeof b);
    const Deposits all = shim::exchange(0xffffffffu, &mine, sizeof mine, name, combine);
    mine = all.of<Fragment<D, 4>>(shim::current->lane);
    memcpy(d, mine.d, sizeof d);
}
}

void shim_mma16816(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2])
{
    run(d, a, b, "mma.m16n8k16.bf16", [](Deposits all) { multiply<Bf16, float, float, 16>(all, &bf16_of); });
}

void shim_mma1688_tf32(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2])
{
    run(d, a, b, "mma.m16n8k8.tf32", [](Deposits all) { multiply<Tf32, float, float, 8>(all, &tf32_of); });
}

void shim_mma16832(int (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2])
{
    run(d, a, b, "mma.m16n8k32.s8", [](Deposits all) { multiply<S8, int, int, 32>(all, &s8_of); });
}

void shim_ldmatrix(unsigned* registers, int count, const void* row, bool transposed)
{
    uint16_t mine[8] = {};
    const int lane = shim::current->lane;
    if (lane < 8 * count)
    {
        if (reinterpret_cast<uintptr_t>(row) & 15)
        {
            shim::fail("ldmatrix: the row address %p is not aligned to 16 bytes", row);
        }

        memcpy(mine, row, sizeof mine);
    }

    const Deposits all = shim::exchange(0xffffffffu, mine, sizeof mine, transposed ? "ldmatrix.trans" : "ldmatrix");
    for (int m = 0; m < count; m++)
    {
        uint16_t pair[2];
        for (int j = 0; j < 2; j++)
        {
            const int r = transposed ? 2 * (lane & 3) + j : lane >> 2, c = transposed ? lane >> 2 : 2 * (lane & 3) + j;
            memcpy(&pair[j], all.base + (m * 8 + r) * shim::SlotBytes + c * 2, 2);
        }

        registers[m] = unsigned(pair[0]) | unsigned(pair[1]) << 16;
    }
}
