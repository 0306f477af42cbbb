// The gates of routed adapters: rows of at most 64 scores, one for each block of ranks.
#include "elements.cuh"

// y[t] = softmax((x[t] + bias) / temperature) over the top_k largest scores of the row, 0 for the others; of equal scores the first is larger.
// One warp a row: lane i has the scores i and i + 32. y may be x.
extern "C" __global__ void __launch_bounds__(256) gate_weights(
    const float* x, i64 x_stride, const float* __restrict__ bias, float temperature, int top_k, float* y, i64 y_stride, int count, int rows) {
  const int lane = threadIdx.x & 31;
  const int row = blockIdx.x * 8 + (threadIdx.x >> 5);
  if (!MASK(row < rows)) return;
  float score[2];
  bool chosen[2];
#pragma unroll
  for (int part = 0; part < 2; part++) {
    const int i = lane + part * 32;
    score[part] = i < count ? (x[row * x_stride + i] + (bias ? bias[i] : 0.f)) / temperature : -INF;
  }

  int larger[2] = {0, 0};
  for (int j = 0; j < count; j++) {
    const float other = __shfl_sync(FULL, j < 32 ? score[0] : score[1], j & 31);
#pragma unroll
    for (int part = 0; part < 2; part++) {
      const int i = lane + part * 32;
      larger[part] += other > score[part] || (other == score[part] && j < i);
    }
  }

#pragma unroll
  for (int part = 0; part < 2; part++) chosen[part] = lane + part * 32 < count && larger[part] < top_k;
  const float max = warp_max(fmaxf(chosen[0] ? score[0] : -INF, chosen[1] ? score[1] : -INF));
  float weight[2];
#pragma unroll
  for (int part = 0; part < 2; part++) weight[part] = chosen[part] ? expf(score[part] - max) : 0.f;
  const float sum = warp_sum(weight[0] + weight[1]);
#pragma unroll
  for (int part = 0; part < 2; part++) {
    const int i = lane + part * 32;
    if (MASK(i < count)) y[row * y_stride + i] = weight[part] / sum;
  }
}

// forward: y = softmax(x / temperature), 0 where a score takes no part. dx = y (dy - sum of y dy) / temperature; dx may be dy.
// One warp a row.
extern "C" __global__ void __launch_bounds__(256) gate_weights_backward(
    const float* __restrict__ y, i64 y_stride, float temperature, const float* dy, i64 dy_stride, float* dx, i64 dx_stride, int count,
    int rows) {
  const int lane = threadIdx.x & 31;
  const int row = blockIdx.x * 8 + (threadIdx.x >> 5);
  if (!MASK(row < rows)) return;
  float sum = 0.f;
  for (int i = lane; i < count; i += 32) sum += y[row * y_stride + i] * dy[row * dy_stride + i];
  sum = warp_sum(sum);
  for (int i = lane; i < count; i += 32) dx[row * dx_stride + i] = y[row * y_stride + i] * (dy[row * dy_stride + i] - sum) / temperature;
}

// y[t, h] = x[t, h] * factors[t, b] with the block b of h: starts[b] <= h < starts[b + 1]. y may be x. Launch geometry: elements.cuh.
extern "C" __global__ void __launch_bounds__(256) scale_blocks(
    const float* x, i64 x_stride, const float* __restrict__ factors, i64 factors_stride, const int* __restrict__ starts, float* y,
    i64 y_stride, i64 columns, int pieces) {
  for_elements(columns, pieces, [=](int row, i64 column) {
    int block = 0;
    while (column >= starts[block + 1]) block++;
    y[row * y_stride + column] = x[row * x_stride + column] * factors[row * factors_stride + block];
  });
}

// y[t, b] = sum over block b of x[t, h] z[t, h]. One warp for each row and block.
extern "C" __global__ void __launch_bounds__(256) block_products(
    const float* __restrict__ x, i64 x_stride, const float* __restrict__ z, i64 z_stride, const int* __restrict__ starts, int blocks,
    float* __restrict__ y, i64 y_stride, int rows) {
  const int lane = threadIdx.x & 31;
  const i64 item = (i64)blockIdx.x * 8 + (threadIdx.x >> 5);
  if (!MASK(item < (i64)rows * blocks)) return;
  const int row = (int)(item / blocks), block = (int)(item % blocks);
  float sum = 0.f;
  for (int i = starts[block] + lane; i < starts[block + 1]; i += 32) sum += x[row * x_stride + i] * z[row * z_stride + i];
  sum = warp_sum(sum);
  if (lane == 0) y[row * y_stride + block] = sum;
}
