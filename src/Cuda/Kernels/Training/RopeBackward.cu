// forward: x[i] = x[i] cos - x[i + half] sin; x[i + half] = x[i + half] cos + x[i] sin, by the row's position.
// The rotation the other way, in place: dx[i] = dy[i] cos + dy[i + half] sin; dx[i + half] = dy[i + half] cos - dy[i] sin.
// Grid: rows * pieces of 256 pairs; pair p of a row is pair p % half of head p / half.
#include "common.cuh"

extern "C" __global__ void __launch_bounds__(256) rope_backward(
    const float* __restrict__ cos, const float* __restrict__ sin, int half, const int* __restrict__ positions, float* dx, i64 dx_stride,
    int head_size, int heads, int pieces) {
  const int row = blockIdx.x / pieces;
  const int pair = (blockIdx.x % pieces) * 256 + threadIdx.x;
  if (!MASK(pair < heads * half)) return;
  const int i = pair % half;
  float* at = dx + row * dx_stride + pair / half * head_size + i;
  const i64 angle = (i64)positions[row] * half + i;
  const float c = cos[angle], s = sin[angle];
  const float first = at[0], second = at[half];
  at[0] = fmaf(second, s, first * c);
  at[half] = second * c - first * s;
}
