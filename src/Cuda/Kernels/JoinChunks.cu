// y[row, head] = sum over chunks of e^(m_c - M) values_c / sum e^(m_c - M) l_c, M = max m_c. Grid: (heads, rows), 8 warps.
// Warp w adds chunks w, w + 8, ... in order, then the warps are added in order; lanes hold four elements of 128.
#include "chunks.cuh"

extern "C" __global__ void __launch_bounds__(256) join_chunks(
    const float* __restrict__ partials, int slots, const int* __restrict__ picked, int first_index, const int* __restrict__ positions,
    int window, int head_size, float* __restrict__ y, int y_stride, const int* rows_pointer, int rows) {
  SHARED_ARRAY(float, values, 8 * 128);
  SHARED_ARRAY(float, sums, 8);
  const int head = blockIdx.x;
  const int index = first_index + blockIdx.y;
  if (index >= row_count(rows_pointer, rows)) return;
  const int row = picked_row(picked, index);
  const RowChunks chunks(positions[row], window);
  const int warp = threadIdx.x >> 5;
  const int lane = threadIdx.x & 31;
  const int stride = partial_stride(head_size);
  const float* own = partials + ((i64)blockIdx.y * gridDim.x + head) * slots * stride;
  const float* statistics = own + stride - 4;
  float largest = -INF;
  for (int slot = lane; MASK(slot < chunks.count); slot += 32) largest = fmaxf(largest, statistics[(i64)slot * stride]);
  largest = warp_max(largest);
  float sum = 0.f;
  for (int slot = warp; MASK(slot < chunks.count); slot += 8) {
    const float* at = statistics + (i64)slot * stride;
    sum += weight_of(at[0], largest) * at[1];
  }
  if (lane == 0) sums[warp] = sum;
  for (int base = 0; base < head_size; base += 128) {
    const int element = base + 4 * lane;
    float4 total = make_float4(0.f, 0.f, 0.f, 0.f);
    if (element < head_size) {
#pragma unroll 4
      for (int slot = warp; slot < chunks.count; slot += 8) {
        const float weight = weight_of(statistics[(i64)slot * stride], largest);
        const float4 v = *reinterpret_cast<const float4*>(own + (i64)slot * stride + element);
        total.x += weight * v.x;
        total.y += weight * v.y;
        total.z += weight * v.z;
        total.w += weight * v.w;
      }
    }
    *reinterpret_cast<float4*>(values + warp * 128 + 4 * lane) = total;
    __syncthreads();
    const int out = base + threadIdx.x;
    if (threadIdx.x < 128 && out < head_size) {
      float value = 0.f;
      float all = 0.f;
      for (int w = 0; w < 8; w++) {
        value += values[w * 128 + threadIdx.x];
        all += sums[w];
      }
      y[(i64)row * y_stride + head * head_size + out] = value / all;
    }
    __syncthreads();
  }
}
