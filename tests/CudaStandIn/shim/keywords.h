// CUDA's keywords. __shared__ is missing on purpose: SHARED_ARRAY and SHARED_DYN (shared.h) poison and guard the memory.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>

#ifdef SHIM_SCAN
// The build reads the kernels' names and launch bounds off the preprocessed source.
#define __global__ shim_global
#define __launch_bounds__(...) shim_launch_bounds(__VA_ARGS__)
#else
#define __global__
#define __launch_bounds__(...)
#endif
#define __device__
#define __host__
#define __constant__ static const
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __align__(n) alignas(n)
#define __restrict__ __restrict
