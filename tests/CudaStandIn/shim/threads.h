// The running thread, its block, and the barriers of a block.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <source_location>
#include "vectors.h"

namespace shim
{
struct Geometry
{
    dim3 blockIndex, blockSize, gridSize;
};

struct Thread
{
    uint3 index;
    int lane, warp;
    const Geometry* geometry;
};

using Site = std::source_location;

extern thread_local Thread* current;    // a thread of a block is a fiber and never moves to another OS thread

[[noreturn]] __attribute__((format(printf, 1, 2))) void fail(const char* format, ...);

// Whether a mutation test has taken the operation at this place out of the running kernel.
extern bool sites_watched;
bool site_omitted(const Site& site, const char* what);
inline bool omitted(const Site& site, const char* what) { return sites_watched && site_omitted(site, what); }

void sync_block();
int sync_block_count(int predicate);
}

#define threadIdx (shim::current->index)
#define blockIdx (shim::current->geometry->blockIndex)
#define blockDim (shim::current->geometry->blockSize)
#define gridDim (shim::current->geometry->gridSize)
#define warpSize 32

inline void __syncthreads(shim::Site site = shim::Site::current())
{
    if (!shim::omitted(site, "__syncthreads"))
    {
        shim::sync_block();
    }
}

inline int __syncthreads_count(int predicate) { return shim::sync_block_count(predicate); }
inline int __syncthreads_or(int predicate) { return shim::sync_block_count(predicate) > 0; }
inline int __syncthreads_and(int predicate) { return shim::sync_block_count(!predicate) == 0; }

// Fences order memory between blocks; here blocks run one after the other, so there is nothing to order.
inline void __threadfence() {}
inline void __threadfence_block() {}
inline void __threadfence_system() {}
inline void __nanosleep(unsigned) {}

// A condition that keeps something out (a causal mask, the end of a row). A mutation test makes it true everywhere.
#define MASK(condition) shim::masked(condition)
namespace shim
{
inline bool masked(bool condition, Site site = Site::current()) { return condition || omitted(site, "MASK"); }
}
