// Rotates pairs (i, i + half) of each head in place by the row's position. Grid: (pieces of 256 pairs, rows).
#include "rope.cuh"

extern "C" __global__ void __launch_bounds__(256) rope(
    float* __restrict__ x, int x_stride, const float* __restrict__ cosines, const float* __restrict__ sines,
    const int* __restrict__ positions, int heads, int head_size, int half, const int* rows_pointer, int rows) {
  const int row = blockIdx.y;
  const int pair = blockIdx.x * 256 + threadIdx.x;
  if (row >= row_count(rows_pointer, rows) || pair >= heads * half) return;
  RotatedPair(x + (i64)row * x_stride, cosines, sines, positions[row], pair, head_size, half);
}
