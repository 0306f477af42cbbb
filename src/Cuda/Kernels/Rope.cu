// Rotates pairs (i, i + half) of each head in place by the row's position:
// x[i] = x[i] cos - x[i + half] sin; x[i + half] = x[i + half] cos + x[i] sin. Grid: (pieces of 256 pairs, rows).
#include "common.cuh"

extern "C" __global__ void __launch_bounds__(256) rope(
    float* __restrict__ x, int x_stride, const float* __restrict__ cosines, const float* __restrict__ sines,
    const int* __restrict__ positions, int heads, int head_size, int half, const int* rows_pointer, int rows) {
  const int row = blockIdx.y;
  const int pair = blockIdx.x * 256 + threadIdx.x;
  if (row >= row_count(rows_pointer, rows) || pair >= heads * half) return;
  const int head = pair / half;
  const int i = pair - head * half;
  const i64 angle = (i64)positions[row] * half + i;
  const float c = cosines[angle];
  const float s = sines[angle];
  float* first = x + (i64)row * x_stride + head * head_size + i;
  const float a = first[0];
  const float b = first[half];
  first[0] = a * c - b * s;
  first[half] = b * c + a * s;
}
