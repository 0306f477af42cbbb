// Kernels that use an operation of the shim each, for comparison with what the manuals say of it.
#include "common.cuh"

// One warp: c[16][8] += a[16][16] b[8][16]^T, through shared memory and ldmatrix.
extern "C" __global__ void probe_mma(const bf16* a, const bf16* b, float* c) {
  SHARED_ARRAY(bf16, sa, 256);
  SHARED_ARRAY(bf16, sb, 128);
  const int lane = threadIdx.x;
  cp_async16(sa + lane * 8, a + lane * 8, true);
  cp_async16(sb + (lane & 15) * 8, b + (lane & 15) * 8, true);
  cp_async_commit();
  cp_async_wait_all();
  __syncwarp();
  u32 fa[4], fb[4];
  ldmatrix_x4(fa, sa + (lane & 15) * 16 + (lane >> 4) * 8);
  ldmatrix_x4(fb, sb + (lane & 7) * 16 + (lane >> 3 & 1) * 8);
  const u32 pair[2] = {fb[0], fb[1]};
  float sum[4];
  for (int i = 0; i < 4; i++) sum[i] = c[((lane >> 2) + 8 * (i >> 1)) * 8 + 2 * (lane & 3) + (i & 1)];
  mma16816(sum, fa, pair);
  for (int i = 0; i < 4; i++) c[((lane >> 2) + 8 * (i >> 1)) * 8 + 2 * (lane & 3) + (i & 1)] = sum[i];
}

// One warp: y = x^T of 8 x 8 b16, by ldmatrix.trans; the four matrices are the same.
extern "C" __global__ void probe_transpose(const bf16* x, u32* y) {
  SHARED_ARRAY(bf16, s, 64);
  s[2 * threadIdx.x] = x[2 * threadIdx.x];
  s[2 * threadIdx.x + 1] = x[2 * threadIdx.x + 1];
  __syncwarp();
  u32 r[4];
  ldmatrix_x4_trans(r, s + (threadIdx.x & 7) * 8);
  y[threadIdx.x] = r[0];
}

// One warp; y[operation][lane].
extern "C" __global__ void probe_warp(const int* x, int* y) {
  const int lane = threadIdx.x, v = x[lane];
  y[lane] = __shfl_xor_sync(FULL, v, 5);
  y[32 + lane] = __shfl_up_sync(FULL, v, 3);
  y[64 + lane] = __shfl_down_sync(FULL, v, 3, 8);
  y[96 + lane] = __shfl_sync(FULL, v, 9, 16);
  y[128 + lane] = (int)__ballot_sync(FULL, v & 1);
  y[160 + lane] = __reduce_add_sync(FULL, v);
  y[192 + lane] = __any_sync(FULL, v == x[7]) + 2 * __all_sync(FULL, v >= 0);
  y[224 + lane] = lane < 8 ? __shfl_xor_sync(0xffu, v, 1) : -1;
}

// Any grid: counts its threads.
extern "C" __global__ void probe_atomics(int* count, float* sum, u32* largest) {
  atomicAdd(count, 1);
  atomicAdd(sum, 0.5f);
  atomicMax(largest, blockIdx.x * blockDim.x + threadIdx.x);
}

// One thread each: y[i] = -x[i].
extern "C" __global__ void probe_negate(const float* x, float* y, int count) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < count) y[i] = -x[i];
}
