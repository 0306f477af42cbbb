// setp and selp.
#include <functional>
#include "decoder.h"
#include "lanes.h"
#include "rounding.h"

namespace ptx
{
namespace
{
// The unordered forms hold for NaN; num and nan ask for it. Integers have lo, ls, hi and hs for unsigned order.
enum class Comparison { Eq, Ne, Lt, Le, Gt, Ge, Equ, Neu, Ltu, Leu, Gtu, Geu, Num, Nan };

template <Comparison C, class T> bool holds(T a, T b)
{
    const bool isNan = a != a || b != b;
    switch (C)
    {
        case Comparison::Eq: return a == b;
        case Comparison::Ne: return a != b && !isNan;
        case Comparison::Lt: return a < b;
        case Comparison::Le: return a <= b;
        case Comparison::Gt: return a > b;
        case Comparison::Ge: return a >= b;
        case Comparison::Equ: return a == b || isNan;
        case Comparison::Neu: return a != b;
        case Comparison::Ltu: return !(a >= b);
        case Comparison::Leu: return !(a > b);
        case Comparison::Gtu: return !(a <= b);
        case Comparison::Geu: return !(a < b);
        case Comparison::Num: return !isNan;
        default: return isNan;
    }
}

template <class T> T flushed_float(T x)
{
    if constexpr (std::is_same_v<T, float>)
    {
        return flushed(x);
    }

    return x;
}

// How the comparison joins with a predicate.
enum class Joint { None, And, Or, Xor };

uint32_t joined(uint32_t mask, uint32_t with, Joint joint)
{
    return joint == Joint::And ? mask & with : joint == Joint::Or ? mask | with : joint == Joint::Xor ? mask ^ with : mask;
}

// Operands: where it holds, where it does not, a, b, and what it is joined with. The immediate: joint, and 4 where that is negated, 8 where subnormals are 0.
template <Comparison C, class T> void compare(Warp& w, const Instruction& i)
{
    const T* a = lanes<T>(w, i.operands[2]);
    const T* b = lanes<T>(w, i.operands[3]);
    uint32_t mask;
    if (std::is_floating_point_v<T> && i.immediate & 8)
    {
        mask = mask_of([=](int l) { return holds<C>(flushed_float(a[l]), flushed_float(b[l])); });
    }
    else
    {
        mask = mask_of([=](int l) { return holds<C>(a[l], b[l]); });
    }

    const uint32_t with = i.immediate & 4 ? ~predicate(w, i.operands[4]) : predicate(w, i.operands[4]);
    const Joint joint = Joint(i.immediate & 3);
    put_predicate(w, i.operands[1], joined(~mask, with, joint));
    put_predicate(w, i.operands[0], joined(mask, with, joint));
}

template <class T> Execute executor(const std::string& name)
{
    using C = Comparison;
    const bool isUnsigned = std::is_unsigned_v<T>;
    return name == "eq" ? &compare<C::Eq, T> : name == "ne" ? &compare<C::Ne, T>
        : name == "lt" || (isUnsigned && name == "lo") ? &compare<C::Lt, T>
        : name == "le" || (isUnsigned && name == "ls") ? &compare<C::Le, T>
        : name == "gt" || (isUnsigned && name == "hi") ? &compare<C::Gt, T>
        : name == "ge" || (isUnsigned && name == "hs") ? &compare<C::Ge, T> : nullptr;
}

template <class T> Execute float_executor(const std::string& name)
{
    using C = Comparison;
    return name == "equ" ? &compare<C::Equ, T> : name == "neu" ? &compare<C::Neu, T> : name == "ltu" ? &compare<C::Ltu, T> : name == "leu" ? &compare<C::Leu, T>
        : name == "gtu" ? &compare<C::Gtu, T> : name == "geu" ? &compare<C::Geu, T> : name == "num" ? &compare<C::Num, T> : name == "nan" ? &compare<C::Nan, T>
        : executor<T>(name);
}

template <class T> void select(Warp& w, const Instruction& i)
{
    const T* a = lanes<T>(w, i.operands[1]);
    const T* b = lanes<T>(w, i.operands[2]);
    const uint32_t p = predicate(w, i.operands[3]);
    each<T>(w, i.operands[0], [=](int l) { return p >> l & 1 ? a[l] : b[l]; });
}

void decode_setp(Decoder& d)
{
    const std::string type = d.take_last(), as = type[0] == 'b' ? "u" + type.substr(1) : type;
    const bool flushes = d.take("ftz");
    if (d.modifiers().empty())
    {
        return;
    }

    const std::string name = d.modifiers()[0];
    d.take(name.c_str());
    const Joint joint = d.take("and") ? Joint::And : d.take("or") ? Joint::Or : d.take("xor") ? Joint::Xor : Joint::None;
    const std::vector<std::string> targets = split(d.text(0), '|');
    bool negated = false;
    d.add(d.predicate(targets[0]));
    d.add(d.predicate(targets.size() > 1 ? targets[1] : "_"));
    d.read(1, type);
    d.read(2, type);
    d.add(joint == Joint::None ? d.scope().constant(0, 0) : d.predicate(d.text(3), &negated));

    Execute execute = nullptr;
    with_integer(as, [&](auto t) { execute = executor<decltype(t)>(name); });
    with_float(as, [&](auto t) { execute = float_executor<decltype(t)>(name); });
    if (!execute)
    {
        d.fail("the comparison is not known");
    }

    d.emit(execute, int(joint) | (negated ? 4 : 0) | (flushes ? 8 : 0));
}
}

void decode_comparisons(Decoder& d)
{
    if (d.name() == "setp")
    {
        decode_setp(d);
    }
    else if (d.name() == "selp")
    {
        const std::string type = d.take_last();
        const int bytes = bytes_of(type);
        d.write(0, bytes);
        d.read(1, type);
        d.read(2, type);
        d.add(d.predicate(d.text(3)));
        d.emit(bytes == 8 ? &select<uint64_t> : bytes == 4 ? &select<uint32_t> : &select<uint16_t>);
    }
}
}
