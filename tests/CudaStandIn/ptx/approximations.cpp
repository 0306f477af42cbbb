// Functions that the device has by approximation only. Here each is off by as much as the manual allows it to be, by chance but the same for the
// same input, as on a device: a test that needs more digits than there are fails.
#include <cmath>
#include "decoder.h"
#include "lanes.h"
#include "rounding.h"

namespace ptx
{
namespace
{
// Between -1 and 1, out of the input's bits.
float noise(float x)
{
    uint32_t h = bits_as<uint32_t>(x) * 0x9e3779b9u;
    h = (h ^ h >> 15) * 0x85ebca6bu;
    h = (h ^ h >> 13) * 0xc2b2ae35u;
    return float(int32_t(h ^ h >> 16)) * 0x1p-31f;
}

// The exact result, moved by up to so many units in its last place.
float moved(double exact, float x, double units)
{
    const float rounded = float(exact);
    if (!std::isfinite(rounded) || rounded == 0)
    {
        return rounded == rounded ? rounded : bits_as<float>(0x7fffffffu);
    }

    return float(exact + double(noise(x)) * units * std::ldexp(1.0, std::max(std::ilogb(rounded), -126) - 23));
}

double rounded_units(double units) { return units > 0.5 ? units - 0.5 : 0; }

// Two units in the last place; of zero it is 1.
struct Exp2 { static float of(float x) { return x == 0 ? 1.f : moved(std::exp2(double(x)), x, rounded_units(2)); } };
struct Log2
{
    // An absolute error of 2^-22 around 1, and a relative one of 2^-22 elsewhere.
    static float of(float x)
    {
        const double exact = std::log2(double(x));
        return !std::isfinite(exact) ? canonical(float(exact)) : float(exact + double(noise(x)) * 0x1p-22 * (x > 0.5f && x < 2.0f ? 1 : std::fabs(exact)) * 0.75);
    }

    static float canonical(float x) { return x == x ? x : bits_as<float>(0x7fffffffu); }
};
struct Reciprocal { static float of(float x) { return moved(1.0 / double(x), x, rounded_units(1)); } };
struct RootReciprocal { static float of(float x) { return x == 0 ? std::copysign(INFINITY, x) : moved(1.0 / std::sqrt(double(x)), x, 0.5); } };    // 2^-22.9
struct Root { static float of(float x) { return moved(std::sqrt(double(x)), x, rounded_units(1)); } };

// Absolute errors of 2^-20.5 and 2^-20.9 in [0, 2 pi] and [-pi, pi].
struct Sine { static float of(float x) { return float(std::sin(double(x)) + double(noise(x)) * 0x1p-21); } };
struct Cosine { static float of(float x) { return float(std::cos(double(x)) + double(noise(x)) * 0x1p-21); } };

// A relative error of 2^-11.
struct Tanh
{
    static float of(float x)
    {
        const double exact = std::tanh(double(x));
        return float(std::fmin(1, std::fmax(-1, exact + double(noise(x)) * 0x1p-11 * std::fabs(exact))));
    }
};

// Two units in the last place; 0 where the divisor is above 2^126.
struct Divide
{
    static float of(float a, float b)
    {
        const float size = std::fabs(b);
        return size > 0x1p126f && std::isfinite(b) ? (std::isfinite(a) ? std::copysign(0.f, a) * std::copysign(1.f, b) : bits_as<float>(0x7fffffffu))
            : moved(double(a) / double(b), b, rounded_units(2));
    }
};

template <class Op> struct Flushing
{
    static float of(float a) { return flushed(Op::of(flushed(a))); }
    static float of(float a, float b) { return flushed(Op::of(flushed(a), flushed(b))); }
};

// Of a double the upper word counts, and gives the upper word of the result.
struct HighWordReciprocal
{
    static double of(double x)
    {
        const double upper = bits_as<double>(bits_as<uint64_t>(x) & ~0xffffffffull);
        return bits_as<double>(bits_as<uint64_t>(flushed(1 / flushed(upper))) & ~0xffffffffull);
    }
};

// Libraries' functions: lane by lane, and only where lanes are active.
template <class Op> void approximate(Warp& w, const Instruction& i)
{
    const float* a = lanes<float>(w, i.operands[1]);
    float* target = lanes<float>(w, i.operands[0]);
    each_active(w, [&](int l) { target[l] = Op::of(a[l]); });
}

template <class Op> void approximate2(Warp& w, const Instruction& i)
{
    const float* a = lanes<float>(w, i.operands[1]);
    const float* b = lanes<float>(w, i.operands[2]);
    float* target = lanes<float>(w, i.operands[0]);
    each_active(w, [&](int l) { target[l] = Op::of(a[l], b[l]); });
}

template <class Op> Execute executor(bool flushes) { return flushes ? &approximate<Flushing<Op>> : &approximate<Op>; }
}

void decode_approximations(Decoder& d)
{
    if (!d.take("approx"))
    {
        if (!(d.name() == "div" && d.take("full")))
        {
            return;
        }
    }

    const std::string name = d.name(), type = d.take_last();
    const bool flushes = d.take("ftz");
    d.write(0, bytes_of(type));
    d.read(1, type);
    if (name == "rcp" && type == "f64" && flushes)
    {
        d.emit(&unary<double, HighWordReciprocal>);
        return;
    }

    if (type != "f32")
    {
        d.fail("is known of f32 only");
    }

    if (name == "div")
    {
        d.read(2, type);
        d.emit(flushes ? &approximate2<Flushing<Divide>> : &approximate2<Divide>);
        return;
    }

    const Execute execute = name == "ex2" ? executor<Exp2>(flushes) : name == "lg2" ? executor<Log2>(flushes) : name == "rcp" ? executor<Reciprocal>(flushes)
        : name == "rsqrt" ? executor<RootReciprocal>(flushes) : name == "sqrt" ? executor<Root>(flushes) : name == "sin" ? executor<Sine>(flushes)
        : name == "cos" ? executor<Cosine>(flushes) : name == "tanh" ? executor<Tanh>(flushes) : nullptr;
    if (execute)
    {
        d.emit(execute);
    }
}
}
