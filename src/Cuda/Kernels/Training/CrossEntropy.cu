// loss[t] = log(sum_j e^x[t, j]) - x[t, label]; dx[t, j] = factor (softmax(x[t])[j] - (j == label)); a label of -100 has neither.
#include "common.cuh"

// One block a row, which is read twice and written once; dx may be x. The first time each thread keeps the largest of its elements and the
// sum of e^(x - largest), so that no pass for the maximum is needed; the threads' sums are then put on the row's maximum.
extern "C" __global__ void __launch_bounds__(1024) cross_entropy(
    const float* x, i64 x_stride, const int* __restrict__ labels, float factor, float* dx, i64 dx_stride, double* __restrict__ losses,
    int columns) {
  SHARED_ARRAY(float, maxima, 32);
  SHARED_ARRAY(float, sums, 32);
  const int row = blockIdx.x;
  const float* in = x + row * x_stride;
  float* out = dx + row * dx_stride;
  const int label = labels[row];
  if (label < 0) {
    for (int i = threadIdx.x; i < columns; i += 1024) out[i] = 0.f;
    if (threadIdx.x == 0) losses[row] = 0.0;
    return;
  }

  // Read before the barriers below, after which other threads overwrite it where dx is x.
  const float wanted = in[label];
  float max = -3.4e38f, sum = 0.f;  // finite, so that logits of -infinity add e^-infinity and not NaN
  for (int i = threadIdx.x; i < columns; i += 1024) {
    const float value = in[i];
    const float above = fmaxf(max, value);
    sum = sum * expf(max - above) + expf(value - above);
    max = above;
  }

  const float warp_maximum = warp_max(max);
  if ((threadIdx.x & 31) == 0) maxima[threadIdx.x >> 5] = warp_maximum;
  __syncthreads();
  float largest = maxima[0];
  for (int i = 1; i < 32; i++) largest = fmaxf(largest, maxima[i]);
  const float total = block_sum(sum * expf(max - largest), sums);
  if (threadIdx.x == 0) losses[row] = log((double)total) + (double)largest - (double)wanted;
  const float scale = factor / total;
  for (int i = threadIdx.x; i < columns; i += 1024) {
    const float value = expf(in[i] - largest) * scale;
    out[i] = i == label ? value - factor : value;
  }
}
