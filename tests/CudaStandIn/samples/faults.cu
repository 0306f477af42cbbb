// Kernels with one mistake each, which the stand-in must find.
#include "common.cuh"

extern "C" __global__ void misaligned_load(const float* x, float* y) { y[threadIdx.x] = reinterpret_cast<const float4*>(x + 1)->x; }

extern "C" __global__ void index_outside(float* y) {
  SHARED_ARRAY(float, s, 32);
  s[threadIdx.x] = 0.f;
  __syncthreads();
  y[threadIdx.x] = s[threadIdx.x + 1];
}

extern "C" __global__ void pointer_outside(float* y) {
  SHARED_ARRAY(float, s, 32);
  float* p = s;
  p[threadIdx.x + 1] = 0.f;
  y[threadIdx.x] = 0.f;
}

extern "C" __global__ void dynamic_outside(float* y) {
  SHARED_DYN(float, s);
  s[threadIdx.x + 1] = 0.f;
  y[threadIdx.x] = 0.f;
}

extern "C" __global__ void divergent_barrier(float* y) {
  if (threadIdx.x < 32) {
    __syncwarp();
    if (threadIdx.x < 7) __syncthreads();
    __syncwarp();
  } else {
    __syncthreads();
  }
  y[threadIdx.x] = 0.f;
}

extern "C" __global__ void shuffle_outside_mask(float* y) { y[threadIdx.x] = threadIdx.x < 16 ? __shfl_sync(0xffffu, 1.f, 16) : 0.f; }

extern "C" __global__ void wrong_mask(float* y) { y[threadIdx.x] = __shfl_sync(0xffffu, 1.f, 0); }

extern "C" __global__ void different_operations(float* y) {
  y[threadIdx.x] = threadIdx.x & 1 ? __shfl_sync(FULL, 1.f, 0) : __shfl_xor_sync(FULL, 1.f, 1);
}

extern "C" __global__ void copy_never_awaited(const float* x, float* y) {
  SHARED_ARRAY(float, s, 128);
  cp_async16(s + threadIdx.x * 4, x + threadIdx.x * 4, true);
  cp_async_commit();
  y[threadIdx.x] = 0.f;
}

extern "C" __global__ void misaligned_copy(const float* x, float* y) {
  SHARED_ARRAY(float, s, 192);
  cp_async16(s + threadIdx.x * 4 + 1, x + threadIdx.x * 4, true);
  cp_async_wait_all();
  y[threadIdx.x] = 0.f;
}

extern "C" __global__ void far_outside(float* y) { y[1024 + threadIdx.x] = 0.f; }

extern "C" __global__ void just_outside(float* y, int count) { y[count] = threadIdx.x; }

extern "C" __global__ void null_pointer(const float* x, float* y) { y[threadIdx.x] = x[threadIdx.x]; }

extern "C" __global__ void shift_too_far(int* y, int by) { y[threadIdx.x] = 1 << by; }

extern "C" __global__ void division_by_zero(int* y, int by) { y[threadIdx.x] = 1 / by; }

extern "C" __global__ void too_much_shared(float* y) {
  SHARED_ARRAY(float, a, 8192);
  SHARED_ARRAY(float, b, 8192);
  a[threadIdx.x] = b[threadIdx.x] = 0.f;
  y[threadIdx.x] = a[threadIdx.x];
}

extern "C" __global__ void __launch_bounds__(64) bounded(float* y) { y[threadIdx.x] = 0.f; }

extern "C" __global__ void both_kinds_of_shared(float* y) {
  SHARED_DYN(float, d);
  SHARED_ARRAY(float, s, 32);
  d[threadIdx.x] = s[threadIdx.x] = 0.f;
  y[threadIdx.x] = d[threadIdx.x];
}
