// Roundings that the host has no single instruction for, by way of double.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>

namespace ptx
{
enum class Rounding { Nearest, Zero, Down, Up };

template <class To, class From> To bits_as(From from)
{
    static_assert(sizeof(To) == sizeof(From));
    To to;
    memcpy(&to, &from, sizeof to);
    return to;
}

// a + b rounded to odd: what is rounded further to half the digits or fewer is then as if it had been rounded once (Boldo and Melquiond, 2008).
inline double add_to_odd(double a, double b)
{
    const double sum = a + b;
    if (!std::isfinite(sum))
    {
        return sum;
    }

    const double bb = sum - a, error = (a - (sum - bb)) + (b - bb);
    const int64_t bits = bits_as<int64_t>(sum);
    if (error == 0 || bits & 1)
    {
        return sum;
    }

    // Towards the error: away from zero where it has the sum's sign.
    return bits_as<double>((error > 0) == (sum > 0) ? bits + 1 : bits - 1);
}

inline float to_float(double x, Rounding rounding)
{
    const float nearest = float(x);
    if (rounding == Rounding::Nearest || std::isnan(x) || double(nearest) == x)
    {
        return nearest;
    }

    const bool isAbove = double(nearest) > x;
    const bool wantsAbove = rounding == Rounding::Up || (rounding == Rounding::Zero && x < 0);
    return isAbove == wantsAbove ? nearest : std::nextafterf(nearest, wantsAbove ? INFINITY : -INFINITY);
}

// To bf16, to nearest and even; every NaN becomes the canonical one. The double is exact or rounded to odd.
inline uint16_t to_bf16(double x)
{
    if (std::isnan(x))
    {
        return 0x7fff;
    }

    // Odd in float too, so that this rounding and the next are as one.
    float f = to_float(x, Rounding::Zero);
    uint32_t bits = bits_as<uint32_t>(f);
    bits |= double(f) != x;
    return uint16_t((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

inline float of_bf16(uint16_t bits) { return bits_as<float>(uint32_t(bits) << 16); }

template <class T> T flushed(T x) { return std::fpclassify(x) == FP_SUBNORMAL ? std::copysign(T(0), x) : x; }
template <class T> T saturated(T x) { return x > T(0) ? (x < T(1) ? x : T(1)) : T(0); }     // NaN gives +0
}
