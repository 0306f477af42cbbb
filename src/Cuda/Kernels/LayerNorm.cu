// y = (x - mean) / sqrt(var + eps) * weight + bias by row, biased variance; y may be x.
// One block a row. Two passes: the variance around the known mean does not cancel.
#include "common.cuh"

extern "C" __global__ void __launch_bounds__(256) layer_norm(
    const float* x, int x_stride, const float* __restrict__ weight, const float* __restrict__ bias, float epsilon, float* y, int y_stride,
    int columns, const int* rows_pointer, int rows) {
  SHARED_ARRAY(float, sums, 8);
  SHARED_ARRAY(float, squares, 8);
  const int row = blockIdx.x;
  if (row >= row_count(rows_pointer, rows)) return;
  const float* in = x + (i64)row * x_stride;
  float* out = y + (i64)row * y_stride;
  float sum = 0.f;
  for (int i = threadIdx.x; i < columns; i += 256) sum += in[i];
  const float mean = block_sum(sum, sums) / columns;
  float square = 0.f;
  for (int i = threadIdx.x; i < columns; i += 256) square += (in[i] - mean) * (in[i] - mean);
  const float factor = rsqrtf(block_sum(square, squares) / columns + epsilon);
  for (int i = threadIdx.x; i < columns; i += 256) {
    const float value = (in[i] - mean) * factor * weight[i];
    out[i] = bias ? value + bias[i] : value;
  }
}
