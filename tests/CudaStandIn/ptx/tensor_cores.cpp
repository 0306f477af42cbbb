// ldmatrix and mma.sync, after "Matrix Fragments for mma.m16n8k16 with floating point type" and "ldmatrix" of the PTX manual.
#include <cmath>
#include "block.h"
#include "decoder.h"
#include "lanes.h"
#include "rounding.h"

namespace ptx
{
namespace
{
void need_all(Warp& w, const char* what)
{
    if (w.alive != ~0u)
    {
        fail(w, std::string(what) + " in a warp of which lanes have ended");
    }
}

// Operands: the address, then a register for each matrix. Lanes 8 m to 8 m + 7 have the addresses of matrix m's rows. Lane l gets of row l / 4 the
// elements 2 (l mod 4) and the one behind it; transposed, of column l / 4 the elements of those two rows.
template <int Count, bool IsTransposed> void load_matrices(Warp& w, const Instruction& i)
{
    if (!w.gather(~0u))
    {
        need_all(w, "ldmatrix");
        return;
    }

    char* at[Lanes];
    w.active = Count == 4 ? ~0u : (1u << (8 * Count)) - 1;
    resolve(w, i, 16, at);
    w.active = ~0u;
    uint16_t matrices[Count][8][8];
    for (int row = 0; row < 8 * Count; row++)
    {
        memcpy(matrices[row / 8][row % 8], at[row], 16);
    }

    for (int m = 0; m < Count; m++)
    {
        each<uint32_t>(w, i.operands[1 + m], [&](int l)
        {
            const int major = l / 4, minor = l % 4 * 2;
            const uint16_t first = IsTransposed ? matrices[m][minor][major] : matrices[m][major][minor];
            const uint16_t second = IsTransposed ? matrices[m][minor + 1][major] : matrices[m][major][minor + 1];
            return uint32_t(second) << 16 | first;
        });
    }
}

// Operands: d0 .. d3, a0 .. a3, b0, b1, c0 .. c3. With group = lane / 4 and thread = lane mod 4, element e of A (two in a register) lies in row
// group, or group + 8 for e = 2, 3, 6, 7, and in column 2 thread + (e mod 2), 8 more from e = 4 on; element e of B in column group and row
// 2 thread + (e mod 2), 8 more from e = 2 on; element e of C and D in row group, or group + 8 from e = 2 on, and column 2 thread + (e mod 2).
// The manual leaves the order of the sums open. Here each is formed in double, which loses next to nothing, and cut off to f32.
void multiply(Warp& w, const Instruction& i)
{
    if (!w.gather(~0u))
    {
        need_all(w, "mma");
        return;
    }

    alignas(64) double a[16][16], b[16][8], sums[16][8];
    for (int r = 0; r < 4; r++)
    {
        const uint32_t* words = lanes<uint32_t>(w, i.operands[4 + r]);
        for (int l = 0; l < Lanes; l++)
        {
            for (int half = 0; half < 2; half++)
            {
                const int e = 2 * r + half, row = l / 4 + (e & 2 ? 8 : 0), column = l % 4 * 2 + (e & 1) + (e >= 4 ? 8 : 0);
                a[row][column] = double(of_bf16(uint16_t(words[l] >> 16 * half)));
            }
        }
    }

    for (int r = 0; r < 2; r++)
    {
        const uint32_t* words = lanes<uint32_t>(w, i.operands[8 + r]);
        for (int l = 0; l < Lanes; l++)
        {
            for (int half = 0; half < 2; half++)
            {
                const int e = 2 * r + half, row = l % 4 * 2 + (e & 1) + (e >= 2 ? 8 : 0), column = l / 4;
                b[row][column] = double(of_bf16(uint16_t(words[l] >> 16 * half)));
            }
        }
    }

    for (int e = 0; e < 4; e++)
    {
        const float* c = lanes<float>(w, i.operands[10 + e]);
        for (int l = 0; l < Lanes; l++)
        {
            sums[l / 4 + (e >= 2 ? 8 : 0)][l % 4 * 2 + (e & 1)] = double(c[l]);
        }
    }

    for (int row = 0; row < 16; row++)
    {
        for (int k = 0; k < 16; k++)
        {
            for (int column = 0; column < 8; column++)
            {
                sums[row][column] += a[row][k] * b[k][column];
            }
        }
    }

    for (int e = 0; e < 4; e++)
    {
        float* d = lanes<float>(w, i.operands[e]);
        for (int l = 0; l < Lanes; l++)
        {
            const double sum = sums[l / 4 + (e >= 2 ? 8 : 0)][l % 4 * 2 + (e & 1)];
            d[l] = sum == sum ? to_float(sum, Rounding::Zero) : bits_as<float>(0x7fffffffu);
        }
    }
}

void decode_load(Decoder& d)
{
    const bool isTransposed = d.take("trans");
    const int count = d.take("x4") ? 4 : d.take("x2") ? 2 : d.take("x1") ? 1 : 0;
    const std::vector<std::string> targets = d.vector(d.text(0));
    if (!d.take("m8n8") || !d.take("b16") || int(targets.size()) != count)
    {
        return;
    }

    d.access(d.text(1), d.take("shared") ? Space::Shared : Space::Generic, count, 16, Use::Read);
    for (const std::string& target : targets)
    {
        d.add(d.written(target, 4));
    }

    d.emit(isTransposed ? count == 4 ? &load_matrices<4, true> : count == 2 ? &load_matrices<2, true> : &load_matrices<1, true>
                        : count == 4 ? &load_matrices<4, false> : count == 2 ? &load_matrices<2, false> : &load_matrices<1, false>);
}

void decode_product(Decoder& d)
{
    for (const char* word : {"m16n8k16", "row", "col", "f32", "bf16", "bf16", "f32"})
    {
        if (!d.take(word))
        {
            return;
        }
    }

    const size_t lengths[] = {4, 4, 2, 4};
    for (size_t n = 0; n < 4; n++)
    {
        const std::vector<std::string> registers = d.vector(d.text(n));
        if (registers.size() != lengths[n])
        {
            d.fail("fragments of other lengths");
        }

        for (const std::string& each : registers)
        {
            d.add(n == 0 ? d.written(each, 4) : d.value(each, n == 3 ? "f32" : "b32"));
        }
    }

    d.emit(&multiply);
}
}

void decode_tensor_cores(Decoder& d)
{
    if ((d.name() == "ldmatrix" || d.name() == "mma") && d.take("sync") && d.take("aligned"))
    {
        d.name() == "mma" ? decode_product(d) : decode_load(d);
    }
}
}
