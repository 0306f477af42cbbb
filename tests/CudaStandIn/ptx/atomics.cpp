// atom and red: the lanes one after the other, in their order.
#include <algorithm>
#include "decoder.h"
#include "lanes.h"

namespace ptx
{
namespace
{
struct AtomicAdd { template <class T> static T of(T x, T b, T) { return T(x + b); } };
struct AtomicMin { template <class T> static T of(T x, T b, T) { return std::min(x, b); } };
struct AtomicMax { template <class T> static T of(T x, T b, T) { return std::max(x, b); } };
struct AtomicAnd { template <class T> static T of(T x, T b, T) { return T(x & b); } };
struct AtomicOr { template <class T> static T of(T x, T b, T) { return T(x | b); } };
struct AtomicXor { template <class T> static T of(T x, T b, T) { return T(x ^ b); } };
struct AtomicExchange { template <class T> static T of(T, T b, T) { return b; } };
struct AtomicCompare { template <class T> static T of(T x, T b, T c) { return x == b ? c : x; } };
struct AtomicInc { template <class T> static T of(T x, T b, T) { return x >= b ? T(0) : T(x + 1); } };
struct AtomicDec { template <class T> static T of(T x, T b, T) { return x == 0 || x > b ? b : T(x - 1); } };

// Operands: address, what was there, b, c.
template <class T, class Op> void atomic(Warp& w, const Instruction& i)
{
    char* at[Lanes];
    resolve(w, i, int(sizeof(T)), at);
    const T* b = lanes<T>(w, i.operands[2]);
    const T* c = lanes<T>(w, i.operands[3]);
    T before[Lanes];
    each_active(w, [&](int l)
    {
        memcpy(&before[l], at[l], sizeof(T));
        const T after = Op::of(before[l], b[l], c[l]);
        memcpy(at[l], &after, sizeof(T));
    });
    put(w, lanes<T>(w, i.operands[1]), before);
}

template <class Op> Execute integer_atomic(const std::string& type)
{
    Execute execute = nullptr;
    const std::string as = type[0] == 'b' ? "u" + type.substr(1) : type;
    if (as == "s32" || as == "u32" || as == "s64" || as == "u64")
    {
        with_integer(as, [&](auto t) { execute = &atomic<decltype(t), Op>; });
    }

    return execute;
}
}

void decode_atomics(Decoder& d)
{
    const bool isReduction = d.name() == "red";
    if (!isReduction && d.name() != "atom")
    {
        return;
    }

    const Space space = d.take("global") ? Space::Global : d.take("shared") ? Space::Shared : Space::Generic;
    for (const char* order : {"relaxed", "acquire", "release", "acq_rel", "gpu", "cta", "sys"})
    {
        d.take(order);
    }

    const std::string type = d.take_last();
    const int bytes = bytes_of(type);
    const bool compares = d.take("cas");
    Execute execute = compares ? integer_atomic<AtomicCompare>(type)
        : d.take("exch") ? integer_atomic<AtomicExchange>(type)
        : d.take("and") ? integer_atomic<AtomicAnd>(type)
        : d.take("or") ? integer_atomic<AtomicOr>(type)
        : d.take("xor") ? integer_atomic<AtomicXor>(type)
        : d.take("min") ? integer_atomic<AtomicMin>(type)
        : d.take("max") ? integer_atomic<AtomicMax>(type)
        : d.take("inc") ? integer_atomic<AtomicInc>(type)
        : d.take("dec") ? integer_atomic<AtomicDec>(type)
        : nullptr;
    if (!execute && d.take("add"))
    {
        execute = integer_atomic<AtomicAdd>(type);
        with_float(type, [&](auto t) { execute = &atomic<decltype(t), AtomicAdd>; });
    }

    if (!execute)
    {
        return;
    }

    const size_t first = isReduction ? 0 : 1;
    d.access(d.text(first), space, 1, bytes, Use::Write);
    d.add(d.written(isReduction ? "_" : d.text(0), bytes));
    d.read(first + 1, type);
    d.read(first + (compares ? 2 : 1), type);
    d.emit(execute);
}
}
