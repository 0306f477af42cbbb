// y[t, h] = x[t, h] / sqrt(mean(x[t]^2) + eps) * (offset + weight[h]); y may be x.
// One block a row; each thread sums every 256th square, so that the order of additions depends on the row's length only.
#include "common.cuh"

extern "C" __global__ void __launch_bounds__(256) rms_norm(
    const float* x, int x_stride, const float* __restrict__ weight, float offset, float epsilon, float* y, int y_stride, int columns,
    const int* rows_pointer, int rows) {
  SHARED_ARRAY(float, sums, 8);
  const int row = blockIdx.x;
  if (row >= row_count(rows_pointer, rows)) return;
  const float* in = x + (i64)row * x_stride;
  float* out = y + (i64)row * y_stride;
  float squares = 0.f;
  for (int i = threadIdx.x; i < columns; i += 256) squares += in[i] * in[i];
  const float factor = rsqrtf(block_sum(squares, sums) / columns + epsilon);
  for (int i = threadIdx.x; i < columns; i += 256) out[i] = in[i] * factor * (offset + weight[i]);
}

// y += x and then normed = rms_norm(y), as two kernels would do it, bit for bit: the residual's way into the next block. normed may be x, whose row a
// block has read before it writes there, so that neither is restricted.
extern "C" __global__ void __launch_bounds__(256) add_rms_norm(
    const float* x, int x_stride, float* __restrict__ y, int y_stride, const float* __restrict__ weight, float offset,
    float epsilon, float* normed, int normed_stride, int columns, const int* rows_pointer, int rows) {
  SHARED_ARRAY(float, sums, 8);
  const int row = blockIdx.x;
  if (row >= row_count(rows_pointer, rows)) return;
  const float* in = x + (i64)row * x_stride;
  float* sum = y + (i64)row * y_stride;
  float* out = normed + (i64)row * normed_stride;
  float squares = 0.f;
  for (int i = threadIdx.x; i < columns; i += 256) {
    const float value = sum[i] + in[i];
    sum[i] = value;
    squares += value * value;
  }
  const float factor = rsqrtf(block_sum(squares, sums) / columns + epsilon);

  // Each thread reads what it wrote itself.
  for (int i = threadIdx.x; i < columns; i += 256) out[i] = sum[i] * factor * (offset + weight[i]);
}
