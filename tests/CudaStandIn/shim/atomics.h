// Atomics, for real: blocks may run on several OS threads.
#pragma once
#include "threads.h"

namespace shim
{
// Replaces *p by f(*p) and returns what was there.
template <class T, class F> T update(T* p, F f)
{
    static_assert(sizeof(T) == 4 || sizeof(T) == 8, "atomics are 4 or 8 bytes wide");
    T seen, wanted;
    __atomic_load(p, &seen, __ATOMIC_RELAXED);
    do
    {
        wanted = f(seen);
    }
    while (!__atomic_compare_exchange(p, &seen, &wanted, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED));

    return seen;
}

template <class T> struct same { using type = T; };
}

template <class T> T atomicAdd(T* p, typename shim::same<T>::type v) { return shim::update(p, [v](T x) { return T(x + v); }); }
template <class T> T atomicSub(T* p, typename shim::same<T>::type v) { return shim::update(p, [v](T x) { return T(x - v); }); }
template <class T> T atomicMax(T* p, typename shim::same<T>::type v) { return shim::update(p, [v](T x) { return x < v ? v : x; }); }
template <class T> T atomicMin(T* p, typename shim::same<T>::type v) { return shim::update(p, [v](T x) { return v < x ? v : x; }); }
template <class T> T atomicAnd(T* p, typename shim::same<T>::type v) { return shim::update(p, [v](T x) { return T(x & v); }); }
template <class T> T atomicOr(T* p, typename shim::same<T>::type v) { return shim::update(p, [v](T x) { return T(x | v); }); }
template <class T> T atomicXor(T* p, typename shim::same<T>::type v) { return shim::update(p, [v](T x) { return T(x ^ v); }); }
template <class T> T atomicExch(T* p, typename shim::same<T>::type v) { return shim::update(p, [v](T) { return v; }); }
inline unsigned atomicInc(unsigned* p, unsigned limit) { return shim::update(p, [limit](unsigned x) { return x >= limit ? 0 : x + 1; }); }
template <class T> T atomicCAS(T* p, typename shim::same<T>::type compare, typename shim::same<T>::type v)
{
    return shim::update(p, [compare, v](T x) { return x == compare ? v : x; });
}
