// sums[h] += sum over t of x[t, h] * z'[t, h] with z' = (z - means[t]) * factors[t], each part of it optional.
// Two passes, so that the order of additions depends on the number of rows only: first the sum of each slice of 256 rows, then the slices.
#include "common.cuh"

#define SLICE_ROWS 256

// partial[slice, h]. Grid: (pieces of 32 columns, slices); thread (lane, warp) adds every 8th row of its column, then the 8 warps' sums are
// added in their order.
extern "C" __global__ void __launch_bounds__(256) column_sums_of_slices(
    const float* __restrict__ x, i64 x_stride, const float* __restrict__ z, i64 z_stride, const float* __restrict__ means,
    const float* __restrict__ factors, float* __restrict__ partial, int columns, int rows) {
  SHARED_ARRAY(float, sums, 8 * 32);
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  const int column = blockIdx.x * 32 + lane;
  const int first = blockIdx.y * SLICE_ROWS;
  const int last = min(rows, first + SLICE_ROWS);
  float sum = 0.f;
  if (column < columns) {
    for (int row = first + warp; row < last; row += 8) {
      float other = 1.f;
      if (z) {
        other = z[row * z_stride + column];
        if (means) other -= means[row];
      }
      if (factors) other *= factors[row];
      sum = fmaf(x[row * x_stride + column], other, sum);
    }
  }
  sums[threadIdx.x] = sum;
  __syncthreads();
  if (warp == 0 && MASK(column < columns)) {
    for (int i = 1; i < 8; i++) sum += sums[i * 32 + lane];
    partial[(i64)blockIdx.y * columns + column] = sum;
  }
}

// sums[h] += partial[0, h] + partial[1, h] + ...
extern "C" __global__ void __launch_bounds__(256) add_slices(
    const float* __restrict__ partial, int slices, float* __restrict__ sums, int columns) {
  const int column = blockIdx.x * 256 + threadIdx.x;
  if (!MASK(column < columns)) return;
  float sum = partial[column];
  for (int slice = 1; slice < slices; slice++) sum += partial[(i64)slice * columns + column];
  sums[column] += sum;
}
