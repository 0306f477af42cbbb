// Kernels that lack one wait each: right under some orders of threads, wrong under others. One block of 64 threads.
#include "common.cuh"

// No barrier between writing and reading what another warp wrote.
extern "C" __global__ void read_before_write(float* y) {
  SHARED_ARRAY(float, s, 64);
  s[threadIdx.x] = threadIdx.x;
  y[threadIdx.x] = s[(threadIdx.x + 32) & 63];
}

// No barrier between reading and the next round's writing.
extern "C" __global__ void write_before_read(float* y) {
  SHARED_ARRAY(float, s, 64);
  float sum = 0.f;
  for (int round = 0; round < 3; round++) {
    s[threadIdx.x] = threadIdx.x * (round + 1);
    __syncthreads();
    sum += s[(threadIdx.x + 32) & 63];
  }
  y[threadIdx.x] = sum;
}

// The lanes of a warp taken to run in step.
extern "C" __global__ void lockstep_assumed(float* y) {
  SHARED_ARRAY(float, s, 64);
  s[threadIdx.x] = threadIdx.x;
  y[threadIdx.x] = s[threadIdx.x ^ 1];
}

// A copy that others may still be reading the target of.
extern "C" __global__ void copy_over_read(const float* x, float* y) {
  SHARED_ARRAY(float, s, 256);
  float sum = 0.f;
  for (int round = 0; round < 3; round++) {
    cp_async16(s + threadIdx.x * 4, x + (round * 64 + threadIdx.x) * 4, true);
    cp_async_commit();
    cp_async_wait_all();
    __syncthreads();
    sum += s[(threadIdx.x * 4 + 128) & 255];
  }
  y[threadIdx.x] = sum;
}

// A copy waited for by the threads that issued it, and read by others without a barrier.
extern "C" __global__ void copy_without_barrier(const float* x, float* y) {
  SHARED_ARRAY(float, s, 256);
  cp_async16(s + threadIdx.x * 4, x + threadIdx.x * 4, true);
  cp_async_commit();
  cp_async_wait_all();
  y[threadIdx.x] = s[(threadIdx.x * 4 + 128) & 255];
}

// Blocks that add in the order in which they come.
extern "C" __global__ void order_of_blocks(float* y) {
  if (threadIdx.x == 0) y[0] = y[0] * 0.5f + blockIdx.x;
}
