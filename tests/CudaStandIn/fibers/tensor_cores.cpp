#include "../shim/tensor_cores.h"
#include "../shim/maths.h"
#include "../shim/warp.h"

namespace
{
using shim::Deposits;

// What a lane brings; lanes deposit its address, since none goes on before the product is there.
template <class D> struct Fragment
{
    D* d;
    const unsigned* a;
    const unsigned* b;
};

template <class D> struct Eight;
template <> struct Eight<float> { typedef float type __attribute__((vector_size(32))); };
template <> struct Eight<int> { typedef int type __attribute__((vector_size(32))); };

// Products that a tensor core adds up at once; devices take 8 or 16.
constexpr int BlockLength = 8;

using Floats = Eight<float>::type;
using Ints = Eight<int>::type;

Floats as_floats(Ints bits) { return reinterpret_cast<Floats&>(bits); }
Ints exponents(const Floats& x) { return reinterpret_cast<const Ints&>(x) >> 23 & 255; }

// sums += a[0] b[0] + ... as tensor cores do it: products are exact, all terms are cut off below a 25-bit window that begins at the largest one, and the
// sum is cut off to f32 (Fasi, Higham, Mikaitis, Pranesh: "Numerical behavior of NVIDIA tensor cores", 2021). Errors are a few times those of rounding,
// and all go towards zero.
void add(Floats& sums, const float* a, const Floats* b)
{
    Floats terms[BlockLength + 1];
    terms[BlockLength] = sums;
    Ints largest = exponents(sums);
    for (int k = 0; k < BlockLength; k++)
    {
        terms[k] = a[k] * b[k];
        const Ints e = exponents(terms[k]);
        largest = e > largest ? e : largest;
    }

    bool isFinite = true;
    for (int i = 0; i < 8; i++)
    {
        isFinite &= largest[i] != 255;
    }

    if (!isFinite)
    {
        for (int k = 0; k < BlockLength; k++)
        {
            sums += terms[k];
        }

        return;
    }

    largest = largest < 25 ? Ints{} + 25 : largest;
    const Floats toWindow = as_floats((278 - largest) << 23);       // 2^(24 - e)
    Ints total{};
    for (const Floats& term : terms)
    {
        total += __builtin_convertvector(term * toWindow, Ints);
    }

    Floats cut = __builtin_convertvector(total, Floats);
    const Ints back = __builtin_convertvector(cut, Ints);
    const Ints isAbove = (back < 0 ? -back : back) > (total < 0 ? -total : total);      // -1 where rounding went away from zero
    cut = as_floats(reinterpret_cast<Ints&>(cut) + isAbove);
    sums = cut * as_floats((largest - 24) << 23);
}

void add(Ints& sums, const int* a, const Ints* b)
{
    for (int k = 0; k < BlockLength; k++)
    {
        sums += a[k] * b[k];
    }
}

// d[0], d[1]: row lane/4, columns 2 (lane%4) and the next; d[2], d[3]: the same eight rows further down.
template <class X, class D, int K> void multiply(Deposits all, X (*element)(unsigned word, int part))
{
    using Row = typename Eight<D>::type;
    constexpr int PerWord = K >= 32 ? 4 : K == 16 ? 2 : 1;      // elements of A or B in a register
    const Fragment<D>* fragments[32];
    D a[16][K];
    Row b[K], sums[16];
    for (int lane = 0; lane < 32; lane++)
    {
        const Fragment<D>& f = *(fragments[lane] = all.of<const Fragment<D>*>(lane));
        const int row = lane >> 2, first = (lane & 3) * PerWord;
        for (int half = 0; half < 2; half++)                    // the second half of k lies in registers 2, 3 of A and 1 of B
        {
            for (int part = 0; part < PerWord; part++)
            {
                const int k = half * K / 2 + first + part;
                a[row][k] = element(f.a[2 * half], part);
                a[row + 8][k] = element(f.a[2 * half + 1], part);
                b[k][row] = element(f.b[half], part);
            }

            sums[row + 8 * half][2 * (lane & 3)] = f.d[2 * half];
            sums[row + 8 * half][2 * (lane & 3) + 1] = f.d[2 * half + 1];
        }
    }

    for (int row = 0; row < 16; row++)
    {
        for (int k = 0; k < K; k += BlockLength)
        {
            add(sums[row], a[row] + k, b + k);
        }
    }

    for (int lane = 0; lane < 32; lane++)
    {
        for (int i = 0; i < 4; i++)
        {
            fragments[lane]->d[i] = sums[(lane >> 2) + 8 * (i >> 1)][2 * (lane & 3) + (i & 1)];
        }
    }
}

float bf16_of(unsigned word, int part) { return __uint_as_float(part ? word & 0xffff0000u : word << 16); }
float tf32_of(unsigned word, int) { return __uint_as_float(word & 0xffffe000u); }   // the low 13 bits are not looked at
int s8_of(unsigned word, int part) { return int8_t(word >> 8 * part); }

template <class D> void run(D (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2], const char* name, void (*combine)(Deposits))
{
    const Fragment<D> mine{d, a, b};
    const Fragment<D>* address = &mine;
    shim::exchange(0xffffffffu, &address, sizeof address, name, combine);
}
}

void shim_mma16816(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2])
{
    run(d, a, b, "mma.m16n8k16.bf16", [](Deposits all) { multiply<float, float, 16>(all, &bf16_of); });
}

void shim_mma1688_tf32(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2])
{
    run(d, a, b, "mma.m16n8k8.tf32", [](Deposits all) { multiply<float, float, 8>(all, &tf32_of); });
}

void shim_mma16832(int (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2])
{
    run(d, a, b, "mma.m16n8k32.s8", [](Deposits all) { multiply<int, int, 32>(all, &s8_of); });
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
