// cvt between integers and floats, and within each.
#include <cmath>
#include <limits>
#include <type_traits>
#include "decoder.h"
#include "lanes.h"
#include "rounding.h"

namespace ptx
{
namespace
{
enum class ToInteger { Nearest, Zero, Down, Up };

template <class F> F to_integral(F x, ToInteger rounding)
{
    switch (rounding)
    {
        case ToInteger::Nearest: return std::nearbyint(x);
        case ToInteger::Zero: return std::trunc(x);
        case ToInteger::Down: return std::floor(x);
        default: return std::ceil(x);
    }
}

// What is too large gives the largest there is, and NaN gives 0.
template <class T, class F> T to_integer(F x, ToInteger rounding)
{
    const F whole = to_integral(x, rounding), limit = std::ldexp(F(1), int(8 * sizeof(T)) - (std::is_signed_v<T> ? 1 : 0));
    return x != x ? T(0) : whole >= limit ? std::numeric_limits<T>::max()
        : whole < F(std::numeric_limits<T>::min()) ? std::numeric_limits<T>::min() : T(whole);
}

template <class T, class S> T clamped(S x)
{
    if constexpr (std::is_signed_v<S> && std::is_unsigned_v<T>)
    {
        if (x < 0)
        {
            return 0;
        }
    }

    const __int128 wide = x;
    return wide > __int128(std::numeric_limits<T>::max()) ? std::numeric_limits<T>::max()
        : wide < __int128(std::numeric_limits<T>::min()) ? std::numeric_limits<T>::min() : T(x);
}

enum Flags : int { RoundingMask = 3, IsIntegral = 4, Saturates = 8, Flushes = 16, SourceShift = 8, TargetShift = 16 };

template <class S> S source(const Warp& w, Ref ref, int registerBytes, int lane)
{
    S value;
    memcpy(&value, w.bases[ref & 1] + (ref & ~1u) + lane * registerBytes, sizeof value);
    return value;
}

template <class T, class S> T converted(S x, int flags)
{
    const auto integral = ToInteger(flags & RoundingMask);
    if constexpr (std::is_floating_point_v<S> && std::is_floating_point_v<T>)
    {
        x = flags & Flushes && sizeof(S) == 4 ? flushed(x) : x;
        x = flags & IsIntegral ? to_integral(x, integral) : x;
        T result = T(x);
        if constexpr (sizeof(T) < sizeof(S))
        {
            result = to_float(x, Rounding(flags & RoundingMask));
        }

        result = result == result ? result : T(NAN);
        result = flags & Saturates ? saturated(result) : result;
        return flags & Flushes && sizeof(T) == 4 ? flushed(result) : result;
    }
    else if constexpr (std::is_floating_point_v<S>)
    {
        return to_integer<T>(flags & Flushes ? flushed(x) : x, integral);
    }
    else if constexpr (std::is_floating_point_v<T>)
    {
        return T(x);        // to nearest, as the host does
    }
    else
    {
        return flags & Saturates ? clamped<T>(x) : T(x);
    }
}

// The registers may be wider than the types; what goes into a wider one is extended by its sign.
template <class T, class S> void convert(Warp& w, const Instruction& i)
{
    const int flags = int(i.immediate), sourceBytes = flags >> SourceShift & 255, targetBytes = flags >> TargetShift & 255;
    T values[Lanes];
    if (sourceBytes == sizeof(S))
    {
        const S* from = lanes<S>(w, i.operands[1]);
        for (int l = 0; l < Lanes; l++)
        {
            values[l] = converted<T>(from[l], flags);
        }
    }
    else
    {
        for (int l = 0; l < Lanes; l++)
        {
            values[l] = converted<T>(source<S>(w, i.operands[1], sourceBytes, l), flags);
        }
    }

    if (targetBytes == sizeof(T))
    {
        put(w, lanes<T>(w, i.operands[0]), values);
        return;
    }

    if constexpr (std::is_integral_v<T>)
    {
        using Wide = std::conditional_t<std::is_signed_v<T>, int64_t, uint64_t>;
        each_active(w, [&](int l)
        {
            const Wide wide = Wide(values[l]);
            memcpy(w.bases[0] + i.operands[0] + l * targetBytes, &wide, size_t(targetBytes));
        });
    }
}

template <class F> bool with_any(const std::string& type, F f)
{
    return with_integer(type, f) || with_float(type, f) || (type == "s8" ? (f(int8_t()), true) : type == "u8" ? (f(uint8_t()), true) : false);
}

// Each kind of rounding has two letters for floats, and an i more for integral values.
int rounding_of(Decoder& d, bool toInteger)
{
    const char* const names[] = {"n", "z", "m", "p"};
    for (int i = 0; i < 4; i++)
    {
        if (d.take(("r" + std::string(names[i]) + "i").c_str()))
        {
            return i | IsIntegral;
        }

        if (!toInteger && d.take(("r" + std::string(names[i])).c_str()))
        {
            return i;
        }
    }

    return toInteger ? -1 : 0;
}
}

void decode_conversions(Decoder& d)
{
    if (d.name() != "cvt" || d.modifiers().size() < 2)
    {
        return;
    }

    const auto& all = d.modifiers();
    const std::string from = all.back(), to = all[all.size() - 2];
    if (!with_any(from, [](auto) {}) || !with_any(to, [](auto) {}))
    {
        return;
    }

    d.take_last();
    d.take_last();
    const bool fromFloat = from[0] == 'f', toFloat = to[0] == 'f';
    int flags = (d.take("sat") ? Saturates : 0) | (d.take("ftz") ? Flushes : 0);
    if (fromFloat || toFloat)
    {
        const int rounding = rounding_of(d, fromFloat && !toFloat);
        if (rounding < 0 || (!fromFloat && rounding != 0))
        {
            d.fail("the rounding is not known here");
        }

        flags |= rounding;
    }

    const Register target = d.register_of(d.text(0)), source = d.register_of(d.text(1));
    if (target.bytes < bytes_of(to) || source.bytes < bytes_of(from) || (toFloat && target.bytes != bytes_of(to)) || (fromFloat && source.bytes != bytes_of(from)))
    {
        d.fail("a register does not fit its type");
    }

    d.add(target.ref);
    d.add(source.ref);
    flags |= source.bytes << SourceShift | target.bytes << TargetShift;
    with_any(to, [&](auto t)
    {
        with_any(from, [&](auto s) { d.emit(&convert<decltype(t), decltype(s)>, flags); });
    });
}
}
