// Logic, shifts, and what looks at single bits.
#include "decoder.h"
#include "lanes.h"

namespace ptx
{
namespace
{
struct And { template <class T> static T of(T a, T b) { return T(a & b); } };
struct Or { template <class T> static T of(T a, T b) { return T(a | b); } };
struct Xor { template <class T> static T of(T a, T b) { return T(a ^ b); } };
struct Not { template <class T> static T of(T a) { return T(~a); } };
struct LogicalNot { template <class T> static T of(T a) { return T(a == 0); } };
struct Count { template <class S> static uint32_t of(S a) { return uint32_t(__builtin_popcountll(a)); } };
struct LeadingZeros { template <class S> static uint32_t of(S a) { return a ? uint32_t(__builtin_clzll(a)) - (64 - 8 * uint32_t(sizeof(S))) : 8 * uint32_t(sizeof(S)); } };

// Shifts by the width and more give what shifting one by one would.
struct ShiftLeft { template <class T> static T of(T a, uint32_t n) { return n < 8 * sizeof(T) ? T(a << n) : T(0); } };
struct ShiftRight { template <class T> static T of(T a, uint32_t n) { return T(a >> (n < 8 * sizeof(T) ? n : 8 * sizeof(T) - 1) >> (n < 8 * sizeof(T) || T(-1) < 0 ? 0 : 1)); } };

template <class T> T reversed(T a)
{
    T r = 0;
    for (size_t i = 0; i < 8 * sizeof(T); i++)
    {
        r = T(r | (a >> i & 1) << (8 * sizeof(T) - 1 - i));
    }

    return r;
}

struct Reverse { template <class T> static T of(T a) { return reversed(a); } };

// The place of the highest bit that is not the sign, or how far it is to be shifted to the top; -1 for none.
template <bool IsShift> struct Find
{
    template <class S> static uint32_t of(S a)
    {
        const auto bits = std::make_unsigned_t<S>(a < 0 ? ~a : a);
        const uint32_t zeros = LeadingZeros::of(bits), width = 8 * sizeof(S);
        return bits == 0 ? ~0u : IsShift ? zeros : width - 1 - zeros;
    }
};

template <class T, class Op> void shift(Warp& w, const Instruction& i)
{
    const T* a = lanes<T>(w, i.operands[1]);
    const uint32_t* n = lanes<uint32_t>(w, i.operands[2]);
    each<T>(w, i.operands[0], [=](int l) { return Op::of(a[l], n[l]); });
}

// Length bits of a go into b from a position on; both count up to 255, and what is beyond the width is left out.
template <class T> void insert(Warp& w, const Instruction& i)
{
    const T* a = lanes<T>(w, i.operands[1]);
    const T* b = lanes<T>(w, i.operands[2]);
    const uint32_t* position = lanes<uint32_t>(w, i.operands[3]);
    const uint32_t* length = lanes<uint32_t>(w, i.operands[4]);
    each<T>(w, i.operands[0], [=](int l)
    {
        const uint32_t p = position[l] & 255, n = length[l] & 255;
        const T ones = n < 8 * sizeof(T) ? T((T(1) << n) - 1) : T(~T(0)), mask = ShiftLeft::of(ones, p);
        return T((b[l] & ~mask) | (ShiftLeft::of(a[l], p) & mask));
    });
}

// Length bits of a from a position on, extended by the last of them that a has.
template <class T> void extract(Warp& w, const Instruction& i)
{
    const T* a = lanes<T>(w, i.operands[1]);
    const uint32_t* position = lanes<uint32_t>(w, i.operands[2]);
    const uint32_t* length = lanes<uint32_t>(w, i.operands[3]);
    each<T>(w, i.operands[0], [=](int l)
    {
        const uint32_t width = 8 * sizeof(T), p = position[l] & 255, n = length[l] & 255;
        const uint32_t last = p + n - 1 < width - 1 ? p + n - 1 : width - 1;
        const bool isNegative = T(-1) < 0 && n > 0 && (a[l] >> last & 1);
        T value = 0;
        for (uint32_t k = 0; k < width; k++)
        {
            const bool bit = k < n && p + k < width ? a[l] >> (p + k) & 1 : isNegative;
            value = T(value | T(std::make_unsigned_t<T>(bit) << k));
        }

        return value;
    });
}

void permute(Warp& w, const Instruction& i)
{
    const uint32_t* a = lanes<uint32_t>(w, i.operands[1]);
    const uint32_t* b = lanes<uint32_t>(w, i.operands[2]);
    const uint32_t* selector = lanes<uint32_t>(w, i.operands[3]);
    each<uint32_t>(w, i.operands[0], [=](int l)
    {
        const uint64_t bytes = uint64_t(b[l]) << 32 | a[l];
        uint32_t result = 0;
        for (int k = 0; k < 4; k++)
        {
            const uint32_t s = selector[l] >> 4 * k & 15, byte = uint32_t(bytes >> 8 * (s & 7)) & 255;
            result |= (s & 8 ? (byte >> 7) * 255 : byte) << 8 * k;
        }

        return result;
    });
}

// Each bit of the table stands for one of the eight ways three bits can be: a the highest.
void look_up(Warp& w, const Instruction& i)
{
    const uint32_t* a = lanes<uint32_t>(w, i.operands[1]);
    const uint32_t* b = lanes<uint32_t>(w, i.operands[2]);
    const uint32_t* c = lanes<uint32_t>(w, i.operands[3]);
    const uint32_t table = uint32_t(i.immediate);
    each<uint32_t>(w, i.operands[0], [=](int l)
    {
        uint32_t result = 0;
        for (uint32_t k = 0; k < 8; k++)
        {
            const uint32_t chosen = (k & 4 ? a[l] : ~a[l]) & (k & 2 ? b[l] : ~b[l]) & (k & 1 ? c[l] : ~c[l]);
            result |= table >> k & 1 ? chosen : 0;
        }

        return result;
    });
}

template <bool IsLeft, bool Wraps> void funnel(Warp& w, const Instruction& i)
{
    const uint32_t* low = lanes<uint32_t>(w, i.operands[1]);
    const uint32_t* high = lanes<uint32_t>(w, i.operands[2]);
    const uint32_t* by = lanes<uint32_t>(w, i.operands[3]);
    each<uint32_t>(w, i.operands[0], [=](int l)
    {
        const uint64_t both = uint64_t(high[l]) << 32 | low[l];
        const uint32_t n = Wraps ? by[l] & 31 : by[l] < 32 ? by[l] : 32;
        return IsLeft ? uint32_t(both << n >> 32) : uint32_t(both >> n);
    });
}

template <int Signs> void dot4(Warp& w, const Instruction& i)
{
    const uint32_t* a = lanes<uint32_t>(w, i.operands[1]);
    const uint32_t* b = lanes<uint32_t>(w, i.operands[2]);
    const uint32_t* c = lanes<uint32_t>(w, i.operands[3]);
    each<uint32_t>(w, i.operands[0], [=](int l)
    {
        int sum = 0;
        for (int k = 0; k < 4; k++)
        {
            const int x = Signs & 1 ? int(int8_t(a[l] >> 8 * k)) : int(uint8_t(a[l] >> 8 * k));
            sum += x * (Signs & 2 ? int(int8_t(b[l] >> 8 * k)) : int(uint8_t(b[l] >> 8 * k)));
        }

        return c[l] + uint32_t(sum);
    });
}

// Predicates are masks: all lanes at once.
template <class Op> void of_predicates(Warp& w, const Instruction& i)
{
    put_predicate(w, i.operands[0], Op::of(predicate(w, i.operands[1]), predicate(w, i.operands[2])));
}

void not_of_predicate(Warp& w, const Instruction& i) { put_predicate(w, i.operands[0], ~predicate(w, i.operands[1])); }

void operands(Decoder& d, const std::string& target, std::initializer_list<std::string> types)
{
    d.write(0, bytes_of(target));
    size_t n = 1;
    for (const std::string& type : types)
    {
        d.read(n++, type);
    }
}

void decode_logic(Decoder& d)
{
    const std::string name = d.name(), type = d.take_last();
    if (type == "pred")
    {
        d.add(d.predicate(d.text(0)));
        d.add(d.predicate(d.text(1)));
        if (name != "not")
        {
            d.add(d.predicate(d.text(2)));
        }

        d.emit(name == "and" ? &of_predicates<And> : name == "or" ? &of_predicates<Or> : name == "xor" ? &of_predicates<Xor> : &not_of_predicate);
        return;
    }

    with_bits(type, [&](auto t)
    {
        using T = decltype(t);
        if (name == "not" || name == "cnot")
        {
            operands(d, type, {type});
            d.emit(name == "not" ? &unary<T, Not> : &unary<T, LogicalNot>);
        }
        else
        {
            operands(d, type, {type, type});
            d.emit(name == "and" ? &binary<T, And> : name == "or" ? &binary<T, Or> : &binary<T, Xor>);
        }
    });
}

void decode_shift(Decoder& d)
{
    const bool isLeft = d.name() == "shl";
    const std::string type = d.take_last(), as = type[0] == 'b' ? "u" + type.substr(1) : type;
    with_integer(as, [&](auto t)
    {
        operands(d, type, {type, "u32"});
        d.emit(isLeft ? &shift<std::make_unsigned_t<decltype(t)>, ShiftLeft> : &shift<decltype(t), ShiftRight>);
    });
}
}

void decode_bits(Decoder& d)
{
    const std::string& name = d.name();
    if (name == "and" || name == "or" || name == "xor" || name == "not" || name == "cnot")
    {
        decode_logic(d);
    }
    else if (name == "shl" || name == "shr")
    {
        decode_shift(d);
    }
    else if (name == "shf")
    {
        const bool isLeft = d.take("l");
        d.take("r");
        const bool wraps = d.take("wrap");
        d.take("clamp");
        d.take("b32");
        operands(d, "b32", {"b32", "b32", "u32"});
        d.emit(isLeft ? wraps ? &funnel<true, true> : &funnel<true, false> : wraps ? &funnel<false, true> : &funnel<false, false>);
    }
    else if (name == "popc" || name == "clz" || name == "brev")
    {
        const std::string type = d.take_last();
        operands(d, name == "brev" ? type : "u32", {type});
        with_bits(type, [&](auto t)
        {
            using T = decltype(t);
            d.emit(name == "popc" ? &unary<uint32_t, Count, T> : name == "clz" ? &unary<uint32_t, LeadingZeros, T> : &unary<T, Reverse>);
        });
    }
    else if (name == "bfind")
    {
        const std::string type = d.take_last();
        const bool isShift = d.take("shiftamt");
        operands(d, "u32", {type});
        with_integer(type, [&](auto t)
        {
            using T = decltype(t);
            d.emit(isShift ? &unary<uint32_t, Find<true>, T> : &unary<uint32_t, Find<false>, T>);
        });
    }
    else if (name == "bfi")
    {
        const std::string type = d.take_last();
        operands(d, type, {type, type, "u32", "u32"});
        with_bits(type, [&](auto t) { d.emit(&insert<decltype(t)>); });
    }
    else if (name == "bfe")
    {
        const std::string type = d.take_last();
        operands(d, type, {type, "u32", "u32"});
        with_integer(type, [&](auto t) { d.emit(&extract<decltype(t)>); });
    }
    else if (name == "prmt")
    {
        d.take("b32");
        operands(d, "b32", {"b32", "b32", "b32"});
        d.emit(&permute);
    }
    else if (name == "lop3")
    {
        d.take("b32");
        operands(d, "b32", {"b32", "b32", "b32"});
        d.emit(&look_up, d.number(d.text(4)));
    }
    else if (name == "dp4a")
    {
        const int signs = (d.modifiers().at(0) == "s32" ? 1 : 0) | (d.modifiers().at(1) == "s32" ? 2 : 0);
        d.take_last();
        d.take_last();
        operands(d, "b32", {"b32", "b32", "b32"});
        d.emit(signs == 0 ? &dot4<0> : signs == 1 ? &dot4<1> : signs == 2 ? &dot4<2> : &dot4<3>);
    }
}
}
