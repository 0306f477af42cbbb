// forward: y[t, h] = x[t, h] n (offset + weight[h]) with n = 1 / sqrt(mean(x[t]^2) + eps).
// One block a row; each thread sums every 256th term.
#include "common.cuh"

// n of the row `in`; `scratch` holds 8 floats.
__device__ __forceinline__ float rms_factor(const float* in, int columns, float epsilon, float* scratch) {
  float squares = 0.f;
  for (int i = threadIdx.x; i < columns; i += 256) squares += in[i] * in[i];
  return rsqrtf(block_sum(squares, scratch) / columns + epsilon);
}

// factors[t] = n of row t, for the weight's gradient.
extern "C" __global__ void __launch_bounds__(256) rms_norm_factors(
    const float* __restrict__ x, i64 x_stride, float epsilon, float* __restrict__ factors, int columns) {
  SHARED_ARRAY(float, scratch, 8);
  const int row = blockIdx.x;
  const float n = rms_factor(x + row * x_stride, columns, epsilon, scratch);
  if (threadIdx.x == 0) factors[row] = n;
}

// With g = dy (offset + weight): dx += n g - x n^3 mean(g x), or overwritten where dx is dy itself.
extern "C" __global__ void __launch_bounds__(256) rms_norm_backward(
    const float* __restrict__ x, i64 x_stride, const float* __restrict__ weight, float offset, float epsilon, const float* dy, i64 dy_stride,
    float* dx, i64 dx_stride, int columns) {
  SHARED_ARRAY(float, squares, 8);
  SHARED_ARRAY(float, products, 8);
  const int row = blockIdx.x;
  const float* in = x + row * x_stride;
  const float* gradient = dy + row * dy_stride;
  float* out = dx + row * dx_stride;
  const float n = rms_factor(in, columns, epsilon, squares);
  float product = 0.f;
  for (int i = threadIdx.x; i < columns; i += 256) product += gradient[i] * (offset + weight[i]) * in[i];
  const float slope = n * n * n * block_sum(product, products) / columns;
  const bool in_place = dx == dy;
  for (int i = threadIdx.x; i < columns; i += 256) {
    const float g = gradient[i] * (offset + weight[i]);
    const float old = in_place ? 0.f : out[i];
    out[i] = fmaf(in[i], -slope, fmaf(g, n, old));
  }
}
