// What instructions do to all lanes at once; lanes that are not active keep what they had.
#pragma once
#include <cstring>
#include "warp.h"

namespace ptx
{
template <class T> T* lanes(const Warp& w, Ref ref) { return reinterpret_cast<T*>(w.bases[ref & 1] + (ref & ~1u)); }

inline uint32_t& predicate(const Warp& w, Ref ref) { return *lanes<uint32_t>(w, ref); }

template <class T> inline void put(const Warp& w, T* target, const T* values)
{
    if (w.active == ~0u)
    {
        memcpy(target, values, sizeof(T) * Lanes);
        return;
    }

    for (int l = 0; l < Lanes; l++)
    {
        target[l] = w.active >> l & 1 ? values[l] : target[l];
    }
}

// target[l] = f(l), for every lane at once: f must bear what inactive lanes hold.
template <class T, class F> inline void each(const Warp& w, Ref target, F f)
{
    alignas(64) T values[Lanes];
    for (int l = 0; l < Lanes; l++)
    {
        values[l] = f(l);
    }

    put(w, lanes<T>(w, target), values);
}

template <class F> inline uint32_t mask_of(F f)
{
    uint32_t mask = 0;
    for (int l = 0; l < Lanes; l++)
    {
        mask |= f(l) ? 1u << l : 0;
    }

    return mask;
}

inline void put_predicate(const Warp& w, Ref target, uint32_t mask)
{
    uint32_t& p = predicate(w, target);
    p = (p & ~w.active) | (mask & w.active);
}

// f(l) for each active lane, in order.
template <class F> inline void each_active(const Warp& w, F f)
{
    for (uint32_t left = w.active; left; left &= left - 1)
    {
        f(__builtin_ctz(left));
    }
}

// Executors of one, two and three sources: Op::of(...) gives a lane's result.
template <class T, class Op, class S = T> void unary(Warp& w, const Instruction& i)
{
    const S* a = lanes<S>(w, i.operands[1]);
    each<T>(w, i.operands[0], [=](int l) { return Op::of(a[l]); });
}

template <class T, class Op, class S = T> void binary(Warp& w, const Instruction& i)
{
    const S* a = lanes<S>(w, i.operands[1]);
    const S* b = lanes<S>(w, i.operands[2]);
    each<T>(w, i.operands[0], [=](int l) { return Op::of(a[l], b[l]); });
}

template <class T, class Op, class S = T> void ternary(Warp& w, const Instruction& i)
{
    const S* a = lanes<S>(w, i.operands[1]);
    const S* b = lanes<S>(w, i.operands[2]);
    const T* c = lanes<T>(w, i.operands[3]);
    each<T>(w, i.operands[0], [=](int l) { return Op::of(a[l], b[l], c[l]); });
}
}
