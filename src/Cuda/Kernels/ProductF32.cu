// y = x w^T with f32 weights, all in f32. Grid: (groups of 32 outputs, groups of 8 rows).
// A warp forms 4 outputs of 8 rows. Lane l adds the products of the inputs 128 i + 4 l .. + 3 in their order, and the lanes' sums are added by
// halving: an order that depends on the number of inputs alone, not on the rows.
#include "common.cuh"

#define OUTPUTS 4
#define ROWS 8

extern "C" __global__ void __launch_bounds__(256) product_f32(
    const float* __restrict__ weights, int stride, const float* __restrict__ x, int x_stride, float* __restrict__ y, int y_stride, int outputs,
    int inputs, const int* rows_pointer, int rows) {
  const int lane = threadIdx.x & 31;
  const int first = (blockIdx.x * 8 + (threadIdx.x >> 5)) * OUTPUTS;
  const int row = blockIdx.y * ROWS;
  const int count = row_count(rows_pointer, rows) - row;
  if (first >= outputs || count <= 0) return;

  // The matrix is padded to a multiple of 16 outputs and of 4 inputs, x is not.
  const float* w = weights + (i64)first * stride;
  const float* in = x + (i64)row * x_stride;
  float sums[OUTPUTS * ROWS];
#pragma unroll
  for (int i = 0; i < OUTPUTS * ROWS; i++) sums[i] = 0.f;
  for (int k = lane * 4; k < inputs; k += 128) {
    float weight[OUTPUTS][4];
#pragma unroll
    for (int o = 0; o < OUTPUTS; o++) {
      const float4 four = *reinterpret_cast<const float4*>(w + (i64)o * stride + k);
      weight[o][0] = four.x;
      weight[o][1] = four.y;
      weight[o][2] = four.z;
      weight[o][3] = four.w;
    }
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
      if (MASK(r < count)) {
#pragma unroll
        for (int i = 0; i < 4; i++) {
          const float value = MASK(k + i < inputs) ? in[(i64)r * x_stride + k + i] : 0.f;
#pragma unroll
          for (int o = 0; o < OUTPUTS; o++) sums[o * ROWS + r] = fmaf(weight[o][i], value, sums[o * ROWS + r]);
        }
      }
    }
  }

  // At each step a lane keeps half of its sums and adds its partner's; sum l ends up whole in lane l.
#pragma unroll
  for (int half = 16; half; half >>= 1) {
    const bool is_upper = lane & half;
#pragma unroll
    for (int i = 0; i < half; i++) {
      const float kept = is_upper ? sums[i + half] : sums[i], given = is_upper ? sums[i] : sums[i + half];
      sums[i] = kept + __shfl_xor_sync(FULL, given, half);
    }
  }

  const int output = first + lane / ROWS, r = lane % ROWS;
  if (MASK(output < outputs) && MASK(r < count)) y[(i64)(row + r) * y_stride + output] = sums[0];
}
