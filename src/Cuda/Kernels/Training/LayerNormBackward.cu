// forward: y[t, h] = z weight[h] + bias[h] with z = (x[t, h] - mean) n, n = 1 / sqrt(var + eps), biased variance.
// One block a row; each thread sums every 256th term. The variance around the known mean does not cancel.
#include "common.cuh"

// mean and n of the row `in`; `scratch` holds 16 floats.
__device__ __forceinline__ float layer_statistics(const float* in, int columns, float epsilon, float* scratch, float* mean) {
  float sum = 0.f;
  for (int i = threadIdx.x; i < columns; i += 256) sum += in[i];
  *mean = block_sum(sum, scratch) / columns;
  float square = 0.f;
  for (int i = threadIdx.x; i < columns; i += 256) square += (in[i] - *mean) * (in[i] - *mean);
  return rsqrtf(block_sum(square, scratch + 8) / columns + epsilon);
}

// means[t] and factors[t] = n of row t, for the gradient of the weight.
extern "C" __global__ void __launch_bounds__(256) layer_norm_statistics(
    const float* __restrict__ x, i64 x_stride, float epsilon, float* __restrict__ means, float* __restrict__ factors, int columns) {
  SHARED_ARRAY(float, scratch, 16);
  const int row = blockIdx.x;
  float mean;
  const float n = layer_statistics(x + row * x_stride, columns, epsilon, scratch, &mean);
  if (threadIdx.x == 0) {
    means[row] = mean;
    factors[row] = n;
  }
}

// With g = dy weight: dx += n (g - mean(g) - z mean(g z)), or overwritten where dx is dy itself.
extern "C" __global__ void __launch_bounds__(256) layer_norm_backward(
    const float* __restrict__ x, i64 x_stride, const float* __restrict__ weight, float epsilon, const float* dy, i64 dy_stride, float* dx,
    i64 dx_stride, int columns) {
  SHARED_ARRAY(float, scratch, 16);
  SHARED_ARRAY(float, gradients, 8);
  SHARED_ARRAY(float, products, 8);
  const int row = blockIdx.x;
  const float* in = x + row * x_stride;
  const float* gradient = dy + row * dy_stride;
  float* out = dx + row * dx_stride;
  float mean;
  const float n = layer_statistics(in, columns, epsilon, scratch, &mean);
  float sum = 0.f, product = 0.f;
  for (int i = threadIdx.x; i < columns; i += 256) {
    const float g = gradient[i] * weight[i];
    sum += g;
    product += g * ((in[i] - mean) * n);
  }
  const float mean_of_g = block_sum(sum, gradients) / columns;
  const float mean_of_gz = block_sum(product, products) / columns;
  const bool in_place = dx == dy;
  for (int i = threadIdx.x; i < columns; i += 256) {
    const float z = (in[i] - mean) * n;
    const float g = fmaf(z, -mean_of_gz, gradient[i] * weight[i] - mean_of_g);
    const float old = in_place ? 0.f : out[i];
    out[i] = fmaf(g, n, old);
  }
}
