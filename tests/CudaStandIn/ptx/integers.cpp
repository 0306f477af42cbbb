// Arithmetic of integers, which wraps around.
#include <algorithm>
#include <limits>
#include <type_traits>
#include "decoder.h"
#include "lanes.h"

namespace ptx
{
namespace
{
template <class T> struct Twice;
template <> struct Twice<int16_t> { using type = int32_t; };
template <> struct Twice<uint16_t> { using type = uint32_t; };
template <> struct Twice<int32_t> { using type = int64_t; };
template <> struct Twice<uint32_t> { using type = uint64_t; };
template <> struct Twice<int64_t> { using type = __int128; };
template <> struct Twice<uint64_t> { using type = unsigned __int128; };
template <class T> using Wide = typename Twice<T>::type;
template <class T> using Plain = std::make_unsigned_t<T>;

struct Add { template <class T> static T of(T a, T b) { return T(Plain<T>(a) + Plain<T>(b)); } };
struct Sub { template <class T> static T of(T a, T b) { return T(Plain<T>(a) - Plain<T>(b)); } };
struct MulLow { template <class T> static T of(T a, T b) { return T(uint64_t(a) * uint64_t(b)); } };
struct MulLow32 { static uint32_t of(uint32_t a, uint32_t b) { return a * b; } };
struct MulHigh { template <class T> static T of(T a, T b) { return T((Wide<T>(a) * Wide<T>(b)) >> (8 * sizeof(T))); } };
struct MulWide { template <class S> static Wide<S> of(S a, S b) { return Wide<S>(a) * Wide<S>(b); } };
struct MadLow { template <class T> static T of(T a, T b, T c) { return Add::of(MulLow::of(a, b), c); } };
struct MadHigh { template <class T> static T of(T a, T b, T c) { return Add::of(MulHigh::of(a, b), c); } };
struct MadWide { template <class S> static Wide<S> of(S a, S b, Wide<S> c) { return Add::of(Wide<S>(a) * Wide<S>(b), c); } };
struct Min { template <class T> static T of(T a, T b) { return std::min(a, b); } };
struct Max { template <class T> static T of(T a, T b) { return std::max(a, b); } };
struct Neg { template <class T> static T of(T a) { return T(Plain<T>(0) - Plain<T>(a)); } };
struct Abs { template <class T> static T of(T a) { return a < 0 ? Neg::of(a) : a; } };

template <class T> bool overflows(T a, T b) { return std::is_signed_v<T> && a == std::numeric_limits<T>::min() && b == T(-1); }

// The manual leaves open what a division by zero gives, and so it is an error.
template <class T, bool IsRemainder> void divide(Warp& w, const Instruction& i)
{
    const T* a = lanes<T>(w, i.operands[1]);
    const T* b = lanes<T>(w, i.operands[2]);
    T values[Lanes];
    each_active(w, [&](int l)
    {
        if (b[l] == 0)
        {
            fail_at(w, l, "a division by zero");
        }

        values[l] = overflows(a[l], b[l]) ? (IsRemainder ? T(0) : a[l]) : IsRemainder ? T(a[l] % b[l]) : T(a[l] / b[l]);
    });
    put(w, lanes<T>(w, i.operands[0]), values);
}

void operands(Decoder& d, int targetBytes, std::initializer_list<const std::string> types)
{
    d.write(0, targetBytes);
    size_t n = 1;
    for (const std::string& type : types)
    {
        d.read(n++, type);
    }
}

// mul and mad of 16 or 32 bits, with a result of twice as many.
template <class S> void decode_wide(Decoder& d, const std::string& type, bool adds)
{
    if constexpr (sizeof(S) <= 4)
    {
        using T = Wide<S>;
        const std::string wide = type.substr(0, 1) + std::to_string(16 * sizeof(S));
        if (adds)
        {
            operands(d, sizeof(T), {type, type, wide});
            d.emit(&ternary<T, MadWide, S>);
        }
        else
        {
            operands(d, sizeof(T), {type, type});
            d.emit(&binary<T, MulWide, S>);
        }
    }
}

template <class T> void decode_product(Decoder& d, const std::string& type, bool adds)
{
    if (d.take("wide"))
    {
        decode_wide<T>(d, type, adds);
        return;
    }

    const bool high = d.take("hi");
    if (!high && !d.take("lo"))
    {
        return;
    }

    if (adds)
    {
        operands(d, sizeof(T), {type, type, type});
        d.emit(high ? &ternary<T, MadHigh> : &ternary<T, MadLow>);
    }
    else
    {
        operands(d, sizeof(T), {type, type});
        d.emit(high ? &binary<T, MulHigh> : sizeof(T) == 4 ? &binary<uint32_t, MulLow32> : &binary<T, MulLow>);
    }
}
}

void decode_integers(Decoder& d)
{
    const std::string& name = d.name();
    static const char* const names[] = {"add", "sub", "mul", "mad", "div", "rem", "min", "max", "neg", "abs"};
    if (d.modifiers().empty() || std::find(std::begin(names), std::end(names), name) == std::end(names) || !with_integer(d.modifiers().back(), [](auto) {}))
    {
        return;
    }

    const std::string type = d.take_last();
    with_integer(type, [&](auto t)
    {
        using T = decltype(t);
        if (name == "mul" || name == "mad")
        {
            decode_product<T>(d, type, name == "mad");
        }
        else if (name == "neg" || name == "abs")
        {
            operands(d, sizeof(T), {type});
            d.emit(name == "neg" ? &unary<T, Neg> : &unary<T, Abs>);
        }
        else
        {
            operands(d, sizeof(T), {type, type});
            d.emit(name == "add" ? &binary<T, Add> : name == "sub" ? &binary<T, Sub> : name == "min" ? &binary<T, Min> : name == "max" ? &binary<T, Max>
                : name == "div" ? &divide<T, false> : &divide<T, true>);
        }
    });
}
}
