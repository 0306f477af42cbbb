// Arithmetic of f32 and f64. Results are the host's, which rounds as IEEE 754 has it; every NaN is the canonical one.
#include <cmath>
#include "decoder.h"
#include "lanes.h"
#include "rounding.h"

namespace ptx
{
namespace
{
template <class T> T canonical(T x)
{
    if constexpr (sizeof(T) == 4)
    {
        return x == x ? x : bits_as<float>(0x7fffffffu);
    }
    else
    {
        return x == x ? x : bits_as<double>(0x7fffffffffffffffull);
    }
}

struct Add { template <class T> static T of(T a, T b) { return canonical(a + b); } };
struct Sub { template <class T> static T of(T a, T b) { return canonical(a - b); } };
struct Mul { template <class T> static T of(T a, T b) { return canonical(a * b); } };
struct Div { template <class T> static T of(T a, T b) { return canonical(a / b); } };
struct Fma
{
    static float of(float a, float b, float c) { return canonical(__builtin_fmaf(a, b, c)); }
    static double of(double a, double b, double c) { return canonical(__builtin_fma(a, b, c)); }
};
struct Neg { template <class T> static T of(T a) { return -a; } };
struct Abs
{
    static float of(float a) { return __builtin_fabsf(a); }
    static double of(double a) { return __builtin_fabs(a); }
};
// The sign of the first, on the value of the second.
struct CopySign
{
    static float of(float a, float b) { return __builtin_copysignf(b, a); }
    static double of(double a, double b) { return __builtin_copysign(b, a); }
};
struct Sqrt
{
    static float of(float a) { return canonical(__builtin_sqrtf(a)); }
    static double of(double a) { return canonical(__builtin_sqrt(a)); }
};
struct Reciprocal { template <class T> static T of(T a) { return canonical(T(1) / a); } };

// Of a number and NaN the number; -0 is below +0.
struct Min
{
    template <class T> static T of(T a, T b)
    {
        const T less = a < b || (a == b && std::signbit(a)) ? a : b;
        return canonical(a != a ? b : b != b ? a : less);
    }
};

struct Max
{
    template <class T> static T of(T a, T b)
    {
        const T more = a > b || (a == b && !std::signbit(a)) ? a : b;
        return canonical(a != a ? b : b != b ? a : more);
    }
};

template <Rounding R> struct FmaTo
{
    static float of(float a, float b, float c) { return canonical(to_float(add_to_odd(double(a) * double(b), double(c)), R)); }
};

template <Rounding R> struct AddTo
{
    static float of(float a, float b) { return canonical(to_float(add_to_odd(double(a), double(b)), R)); }
};

template <Rounding R> struct MulTo
{
    static float of(float a, float b) { return canonical(to_float(double(a) * double(b), R)); }
};

template <class Op> struct Flushing
{
    template <class T> static T of(T a) { return flushed(Op::of(flushed(a))); }
    template <class T> static T of(T a, T b) { return flushed(Op::of(flushed(a), flushed(b))); }
    template <class T> static T of(T a, T b, T c) { return flushed(Op::of(flushed(a), flushed(b), flushed(c))); }
};

template <class Op> struct Saturating
{
    template <class T> static T of(T a, T b) { return saturated(Op::of(a, b)); }
    template <class T> static T of(T a, T b, T c) { return saturated(Op::of(a, b, c)); }
};

template <class T, class Op, int Sources> Execute executor()
{
    if constexpr (Sources == 1)
    {
        return &unary<T, Op>;
    }
    else if constexpr (Sources == 2)
    {
        return &binary<T, Op>;
    }
    else
    {
        return &ternary<T, Op>;
    }
}

template <class Op, int Sources> void emit(Decoder& d, const std::string& type, bool flushes, bool saturates)
{
    const int bytes = bytes_of(type);
    d.write(0, bytes);
    for (int s = 1; s <= Sources; s++)
    {
        d.read(size_t(s), type);
    }

    with_float(type, [&](auto t)
    {
        using T = decltype(t);
        if constexpr (Sources == 1)
        {
            d.emit(flushes ? executor<T, Flushing<Op>, Sources>() : executor<T, Op, Sources>());
        }
        else
        {
            d.emit(flushes && saturates ? executor<T, Saturating<Flushing<Op>>, Sources>() : flushes ? executor<T, Flushing<Op>, Sources>()
                : saturates ? executor<T, Saturating<Op>, Sources>() : executor<T, Op, Sources>());
        }
    });
}

// Directed rounding, of f32 only.
template <template <Rounding> class Op, int Sources> void emit_directed(Decoder& d, Rounding rounding)
{
    d.write(0, 4);
    for (int s = 1; s <= Sources; s++)
    {
        d.read(size_t(s), "f32");
    }

    d.emit(rounding == Rounding::Zero ? executor<float, Op<Rounding::Zero>, Sources>()
        : rounding == Rounding::Down ? executor<float, Op<Rounding::Down>, Sources>()
        : executor<float, Op<Rounding::Up>, Sources>());
}
}

void decode_floats(Decoder& d)
{
    const std::string& name = d.name();
    if (d.modifiers().empty() || (d.modifiers().back() != "f32" && d.modifiers().back() != "f64"))
    {
        return;
    }

    const bool isArithmetic = name == "add" || name == "sub" || name == "mul" || name == "fma" || name == "mad";
    const bool isDivision = (name == "div" || name == "sqrt" || name == "rcp") && d.modifiers()[0] == "rn";
    if (!isArithmetic && !isDivision && name != "min" && name != "max" && name != "neg" && name != "abs" && name != "copysign")
    {
        return;
    }

    const std::string type = d.take_last();
    const bool flushes = d.take("ftz"), saturates = isArithmetic && d.take("sat");
    const Rounding rounding = d.take("rz") ? Rounding::Zero : d.take("rm") ? Rounding::Down : d.take("rp") ? Rounding::Up : Rounding::Nearest;
    d.take("rn");
    if (rounding != Rounding::Nearest)
    {
        if (type != "f32" || flushes || saturates)
        {
            d.fail("directed rounding is known of plain f32 only");
        }

        name == "add" ? emit_directed<AddTo, 2>(d, rounding) : name == "mul" ? emit_directed<MulTo, 2>(d, rounding)
            : name == "fma" ? emit_directed<FmaTo, 3>(d, rounding) : d.fail("directed rounding is not known of it");
        return;
    }

    name == "add" ? emit<Add, 2>(d, type, flushes, saturates)
        : name == "sub" ? emit<Sub, 2>(d, type, flushes, saturates)
        : name == "mul" ? emit<Mul, 2>(d, type, flushes, saturates)
        : name == "fma" || name == "mad" ? emit<Fma, 3>(d, type, flushes, saturates)
        : name == "div" ? emit<Div, 2>(d, type, flushes, false)
        : name == "sqrt" ? emit<Sqrt, 1>(d, type, flushes, false)
        : name == "rcp" ? emit<Reciprocal, 1>(d, type, flushes, false)
        : name == "min" ? emit<Min, 2>(d, type, flushes, false)
        : name == "max" ? emit<Max, 2>(d, type, flushes, false)
        : name == "copysign" ? emit<CopySign, 2>(d, type, false, false)
        : name == "neg" ? emit<Neg, 1>(d, type, flushes, false)
        : emit<Abs, 1>(d, type, flushes, false);
}
}
