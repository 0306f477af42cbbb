// Warp-wide operations. Every lane named by the mask deposits a value; when the last one has, each reads what it is to have.
#pragma once
#include "threads.h"

namespace shim
{
constexpr size_t SlotBytes = 64;

// The deposits of a warp; lane l's lies at bytes [l * SlotBytes, ...).
struct Deposits
{
    char* base;

    template <class T> T of(int lane) const
    {
        T value;
        memcpy(&value, base + lane * SlotBytes, sizeof(T));
        return value;
    }

    template <class T> void set(int lane, const T& value) { memcpy(base + lane * SlotBytes, &value, sizeof(T)); }
};

// Waits for all lanes of the mask. `operation` must be the same for all of them, as CUDA asks ("the same intrinsic with the same mask").
// `combine`, if given, runs once when all have deposited. The result may be read until the lane's next warp operation.
Deposits exchange(unsigned mask, const void* value, size_t bytes, const char* operation, void (*combine)(Deposits) = nullptr);

template <class T> T shuffle(unsigned mask, T value, int source, const char* operation)
{
    static_assert(sizeof(T) == 4 || sizeof(T) == 8, "a shuffle moves 4 or 8 bytes");
    const Deposits all = exchange(mask, &value, sizeof(T), operation);
    if (!(mask >> (source & 31) & 1))
    {
        fail("%s reads lane %d, which the mask %08x leaves out", operation, source & 31, mask);
    }

    return all.of<T>(source & 31);
}

inline unsigned vote(unsigned mask, int predicate, const char* operation)
{
    const int bit = predicate != 0;
    const Deposits all = exchange(mask, &bit, sizeof bit, operation);
    unsigned result = 0;
    for (int lane = 0; lane < 32; lane++)
    {
        if (mask >> lane & 1)
        {
            result |= unsigned(all.of<int>(lane)) << lane;
        }
    }

    return result;
}

template <class T, class F> T reduce(unsigned mask, T value, const char* operation, F f)
{
    const Deposits all = exchange(mask, &value, sizeof(T), operation);
    T result = value;
    for (int lane = 0; lane < 32; lane++)
    {
        if ((mask >> lane & 1) && lane != current->lane)
        {
            result = f(result, all.of<T>(lane));
        }
    }

    return result;
}
}

inline void __syncwarp(unsigned mask = 0xffffffffu, shim::Site site = shim::Site::current())
{
    if (!shim::omitted(site, "__syncwarp"))
    {
        const int nothing = 0;
        shim::exchange(mask, &nothing, sizeof nothing, "__syncwarp");
    }
}

template <class T> T __shfl_sync(unsigned mask, T value, int source, int width = 32)
{
    const int lane = shim::current->lane;
    return shim::shuffle(mask, value, (lane & ~(width - 1)) | (source & (width - 1)), "__shfl_sync");
}

template <class T> T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32)
{
    const int lane = shim::current->lane, source = lane ^ bits;
    return shim::shuffle(mask, value, source > (lane | (width - 1)) ? lane : source, "__shfl_xor_sync");
}

template <class T> T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32)
{
    const int lane = shim::current->lane, source = lane - int(delta);
    return shim::shuffle(mask, value, source < (lane & ~(width - 1)) ? lane : source, "__shfl_up_sync");
}

template <class T> T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32)
{
    const int lane = shim::current->lane, source = lane + int(delta);
    return shim::shuffle(mask, value, source > (lane | (width - 1)) ? lane : source, "__shfl_down_sync");
}

inline unsigned __ballot_sync(unsigned mask, int predicate) { return shim::vote(mask, predicate, "__ballot_sync"); }
inline int __any_sync(unsigned mask, int predicate) { return shim::vote(mask, predicate, "__any_sync") != 0; }
inline int __all_sync(unsigned mask, int predicate) { return shim::vote(mask, predicate, "__all_sync") == mask; }

// All threads are taken as active: a fiber cannot know which lanes hardware would find converged. Do not synchronise on it.
inline unsigned __activemask() { return 0xffffffffu; }

template <class T> unsigned __match_any_sync(unsigned mask, T value)
{
    const shim::Deposits all = shim::exchange(mask, &value, sizeof(T), "__match_any_sync");
    unsigned same = 0;
    for (int lane = 0; lane < 32; lane++)
    {
        if ((mask >> lane & 1) && all.of<T>(lane) == value)
        {
            same |= 1u << lane;
        }
    }

    return same;
}

inline unsigned __reduce_add_sync(unsigned m, unsigned v) { return shim::reduce(m, v, "__reduce_add_sync", [](unsigned a, unsigned b) { return a + b; }); }
inline int __reduce_add_sync(unsigned m, int v) { return int(__reduce_add_sync(m, unsigned(v))); }
template <class T> T __reduce_min_sync(unsigned m, T v) { return shim::reduce(m, v, "__reduce_min_sync", [](T a, T b) { return a < b ? a : b; }); }
template <class T> T __reduce_max_sync(unsigned m, T v) { return shim::reduce(m, v, "__reduce_max_sync", [](T a, T b) { return a < b ? b : a; }); }
inline unsigned __reduce_and_sync(unsigned m, unsigned v) { return shim::reduce(m, v, "__reduce_and_sync", [](unsigned a, unsigned b) { return a & b; }); }
inline unsigned __reduce_or_sync(unsigned m, unsigned v) { return shim::reduce(m, v, "__reduce_or_sync", [](unsigned a, unsigned b) { return a | b; }); }
inline unsigned __reduce_xor_sync(unsigned m, unsigned v) { return shim::reduce(m, v, "__reduce_xor_sync", [](unsigned a, unsigned b) { return a ^ b; }); }
