// Sums over everything, in f64 and in an order that depends on the shape only: pieces by blocks, then the pieces by one block.
#include "elements.cuh"

// Sum over a block, in thread 0; `scratch` holds 256 doubles.
__device__ __forceinline__ double block_total(double value, double* scratch) {
  scratch[threadIdx.x] = value;
  __syncthreads();
  for (int half = 128; half; half >>= 1) {
    if (threadIdx.x < half) scratch[threadIdx.x] += scratch[threadIdx.x + half];
    __syncthreads();
  }
  return scratch[0];
}

// partial[block] = sum of the squares of the block's elements. Launch geometry: elements.cuh.
extern "C" __global__ void __launch_bounds__(256) squares_of_pieces(
    const float* __restrict__ x, i64 x_stride, double* __restrict__ partial, i64 columns, int pieces) {
  SHARED_ARRAY(double, scratch, 256);
  double sum = 0.0;
  for_elements(columns, pieces, [&](int row, i64 column) {
    const double value = x[row * x_stride + column];
    sum += value * value;
  });
  const double total = block_total(sum, scratch);
  if (threadIdx.x == 0) partial[blockIdx.x] = total;
}

// total = partial[0] + partial[1] + ..., one block.
extern "C" __global__ void __launch_bounds__(256) add_pieces(const double* __restrict__ partial, int count, double* __restrict__ total) {
  SHARED_ARRAY(double, scratch, 256);
  double sum = 0.0;
  for (int i = threadIdx.x; i < count; i += 256) sum += partial[i];
  const double result = block_total(sum, scratch);
  if (threadIdx.x == 0) *total = result;
}

// lengths[row] = |x[row]|. One block a row.
extern "C" __global__ void __launch_bounds__(256) row_lengths(
    const float* __restrict__ x, i64 x_stride, int columns, float* __restrict__ lengths) {
  SHARED_ARRAY(float, sums, 8);
  const float* in = x + blockIdx.x * x_stride;
  float squares = 0.f;
  for (int i = threadIdx.x; i < columns; i += 256) squares += in[i] * in[i];
  const float length = sqrtf(block_sum(squares, sums));
  if (threadIdx.x == 0) lengths[blockIdx.x] = length;
}
