// What all kernels share. Compiles under NVRTC (which has no headers of its own), nvcc, and as host C++ for tests (-DCPU_SHIM).
//
// Rules that keep every kernel testable without a GPU:
// - shared memory only by SHARED_ARRAY and SHARED_DYN, inline PTX only in this file;
// - entry points are extern "C" __global__ functions with pointers, ints and floats as parameters;
// - a condition that keeps something out (a causal mask, the end of a row) stands in MASK();
// - a kernel whose grid covers more rows than there are reads their number with row_count().
#pragma once
#ifdef CPU_SHIM
#include "shim.h"
#else
#define SHARED_ARRAY(T, name, n) __shared__ __align__(16) T name[n]
#define SHARED_DYN(T, name) extern __shared__ __align__(16) unsigned char dynamic_shared[]; T* name = reinterpret_cast<T*>(dynamic_shared)
#define MASK(condition) (condition)
#endif

typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long i64;
typedef unsigned short u16;
typedef unsigned char u8;
typedef signed char i8;
struct bf16 { u16 bits; };

#define WARP 32
#define FULL 0xffffffffu
#define INF __uint_as_float(0x7f800000u)   // no <math.h> under NVRTC

// The rows a launch works on; see RowCount.cs.
__device__ __forceinline__ int row_count(const int* pointer, int rows) { return pointer ? *pointer : rows; }

__device__ __forceinline__ float widen(bf16 v) { return __uint_as_float((u32)v.bits << 16); }
__device__ __forceinline__ float widen(float v) { return v; }
__device__ __forceinline__ float low_half(u32 pair) { return __uint_as_float(pair << 16); }
__device__ __forceinline__ float high_half(u32 pair) { return __uint_as_float(pair & 0xffff0000u); }

// Rounds to the nearest bf16, ties to even.
__device__ __forceinline__ bf16 narrow(float f) {
#ifdef CPU_SHIM
  return bf16{shim_f2bf(f)};
#else
  bf16 r;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(r.bits) : "f"(f));
  return r;
#endif
}

// Two bf16 in one word, the first in the low half.
__device__ __forceinline__ u32 narrow2(float low, float high) {
#ifdef CPU_SHIM
  return (u32)shim_f2bf(low) | ((u32)shim_f2bf(high) << 16);
#else
  u32 r;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
  return r;
#endif
}

// (x & mask) | bits in one instruction; of two constants the compiler makes two.
__device__ __forceinline__ u32 and_or(u32 x, u32 mask, u32 bits) {
#ifdef CPU_SHIM
  return (x & mask) | bits;
#else
  u32 r;
  asm("lop3.b32 %0, %1, %2, %3, 0xea;" : "=r"(r) : "r"(x), "r"(mask), "r"(bits));
  return r;
#endif
}

// Two sums of bf16, each rounded to the nearest.
__device__ __forceinline__ u32 add_bf16x2(u32 a, u32 b) {
#ifdef CPU_SHIM
  return narrow2(low_half(a) + low_half(b), high_half(a) + high_half(b));
#else
  u32 r;
  asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(r) : "r"(a), "r"(0x3f803f80u), "r"(b));
  return r;
#endif
}

// 2^x to two units in the last place; less than the smallest normal number is 0.
__device__ __forceinline__ float exp2_fast(float x) {
#ifdef CPU_SHIM
  return exp2f(x);
#else
  float r;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(x));
  return r;
#endif
}

__device__ __forceinline__ float warp_sum(float v) {
#pragma unroll
  for (int o = 16; o; o >>= 1) v += __shfl_xor_sync(FULL, v, o);
  return v;
}

__device__ __forceinline__ float warp_max(float v) {
#pragma unroll
  for (int o = 16; o; o >>= 1) v = fmaxf(v, __shfl_xor_sync(FULL, v, o));
  return v;
}

// Sum over a block, the same bits in every thread; `scratch` holds one float a warp and may be used again after the next barrier.
__device__ __forceinline__ float block_sum(float v, float* scratch) {
  v = warp_sum(v);
  if ((threadIdx.x & 31) == 0) scratch[threadIdx.x >> 5] = v;
  __syncthreads();
  float total = 0.f;
  const int warps = blockDim.x >> 5;
  for (int i = 0; i < warps; i++) total += scratch[i];
  return total;
}

// What the block has written is there for other blocks before any of its threads goes on. In tests blocks run one after the other, so that nothing
// there would miss it.
__device__ __forceinline__ void show_other_blocks() {
#ifdef CPU_SHIM
  shim::sync_block();
#else
  __threadfence();
  __syncthreads();
#endif
}

// D = A (16 x 16, by rows) * B (16 x 8, by columns) + C; bf16 in, f32 sums. PTX ISA, "Matrix Fragments for mma.m16n8k16".
__device__ __forceinline__ void mma16816(float (&c)[4], const u32 (&a)[4], const u32 (&b)[2]) {
#ifdef CPU_SHIM
  shim_mma16816(c, a, b);
#else
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}

__device__ __forceinline__ void ldmatrix_x4(u32 (&r)[4], const void* p) {
#ifdef CPU_SHIM
  shim_ldmatrix(r, 4, p, false);
#else
  u32 a = (u32)__cvta_generic_to_shared(p);
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(a));
#endif
}

__device__ __forceinline__ void ldmatrix_x4_trans(u32 (&r)[4], const void* p) {
#ifdef CPU_SHIM
  shim_ldmatrix(r, 4, p, true);
#else
  u32 a = (u32)__cvta_generic_to_shared(p);
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(a));
#endif
}

// Copies 16 bytes from global to shared memory in the background, or 16 zeros where `is_real` is false; both addresses are multiples of 16.
__device__ __forceinline__ void cp_async16(void* s, const void* g, bool is_real) {
#ifdef CPU_SHIM
  shim_cp_async16(s, g, is_real);
#else
  u32 a = (u32)__cvta_generic_to_shared(s);
  int n = is_real ? 16 : 0;
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(a), "l"(g), "r"(n));
#endif
}

__device__ __forceinline__ void cp_async_commit() {
#ifdef CPU_SHIM
  shim_cp_commit();
#else
  asm volatile("cp.async.commit_group;");
#endif
}

__device__ __forceinline__ void cp_async_wait_all() {
#ifdef CPU_SHIM
  shim_cp_wait_all();
#else
  asm volatile("cp.async.wait_all;" ::: "memory");
#endif
}

// Waits until all but the last `left` committed groups of copies are done.
template <int left> __device__ __forceinline__ void cp_async_wait_group() {
#ifdef CPU_SHIM
  shim_cp_wait_group(left);
#else
  asm volatile("cp.async.wait_group %0;" ::"n"(left) : "memory");
#endif
}
