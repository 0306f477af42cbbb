// bf16: conversions, and arithmetic of two in a word.
#include "decoder.h"
#include "lanes.h"
#include "rounding.h"

namespace ptx
{
namespace
{
double half_of(uint32_t word, int half) { return double(of_bf16(uint16_t(word >> 16 * half))); }

struct ToHalf { static uint16_t of(float x) { return to_bf16(double(x)); } };
struct OfHalf { static float of(uint16_t x) { return of_bf16(x); } };

// The first source becomes the upper half.
struct ToHalves { static uint32_t of(float a, float b) { return uint32_t(to_bf16(double(a))) << 16 | to_bf16(double(b)); } };

struct FmaOfHalves
{
    static uint32_t of(uint32_t a, uint32_t b, uint32_t c)
    {
        uint32_t result = 0;
        for (int h = 0; h < 2; h++)
        {
            result |= uint32_t(to_bf16(add_to_odd(half_of(a, h) * half_of(b, h), half_of(c, h)))) << 16 * h;
        }

        return result;
    }
};

void decode_cvt(Decoder& d)
{
    const auto& all = d.modifiers();
    const std::string from = all.back(), to = all[all.size() - 2];
    if (from == "bf16" && to == "f32")
    {
        d.take_last();
        d.take_last();
        d.write(0, 4);
        d.read(1, "b16");
        d.emit(&unary<float, OfHalf, uint16_t>);
    }
    else if (from == "f32" && (to == "bf16" || to == "bf16x2") && d.take("rn"))
    {
        d.take_last();
        d.take_last();
        d.write(0, to == "bf16" ? 2 : 4);
        d.read(1, "f32");
        if (to == "bf16x2")
        {
            d.read(2, "f32");
        }

        d.emit(to == "bf16" ? &unary<uint16_t, ToHalf, float> : &binary<uint32_t, ToHalves, float>);
    }
}
}

void decode_halves(Decoder& d)
{
    if (d.name() == "cvt" && d.modifiers().size() >= 2)
    {
        decode_cvt(d);
    }
    else if (d.name() == "fma" && d.take("bf16x2") && d.take("rn"))
    {
        d.write(0, 4);
        d.read(1, "b32");
        d.read(2, "b32");
        d.read(3, "b32");
        d.emit(&ternary<uint32_t, FmaOfHalves>);
    }
}
}
