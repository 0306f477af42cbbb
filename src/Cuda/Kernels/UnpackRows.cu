// Rows of a quantised matrix as bf16, row by row: value(code) * scale in f32, rounded. Grid: (pieces of 512 inputs, rows); a thread unpacks a pair.
#include "quantized.cuh"

extern "C" __global__ void __launch_bounds__(256) unpack_int8(
    const u8* __restrict__ weights, const u8* __restrict__ scales, int records, int first_row, bf16* __restrict__ y, int y_stride) {
  const int k = (blockIdx.x * 256 + threadIdx.x) * 2, row = first_row + blockIdx.y;
  if (!MASK(k < y_stride)) return;

  // Rows of y have a multiple of 8 elements, and what lies in a record beyond the inputs stands for zeros.
  const float low = int8_weight(weights, scales, records, row, k), high = int8_weight(weights, scales, records, row, k + 1);
  *reinterpret_cast<u32*>(y + (i64)blockIdx.y * y_stride + k) = narrow2(low, high);
}

extern "C" __global__ void __launch_bounds__(256) unpack_nf4(
    const u8* __restrict__ weights, const u8* __restrict__ scales, int records, int first_row, bf16* __restrict__ y, int y_stride) {
  SHARED_ARRAY(float, values, 16);
  if (threadIdx.x < 16) values[threadIdx.x] = nf4_values[threadIdx.x];
  __syncthreads();
  const int k = (blockIdx.x * 256 + threadIdx.x) * 2, row = first_row + blockIdx.y;
  if (!MASK(k < y_stride)) return;
  const int unit = row >> 4, r = row & 15, lane = (r & 7) * 4 + (k & 7) / 2, byte = r / 8 + (k & 8) / 4;
  const i64 record = (i64)unit * records + (k >> 6);
  const int pair = weights[record * 512 + lane * 16 + ((k & 63) >> 4) * 4 + byte];
  const float scale = reinterpret_cast<const float*>(scales + record * 64)[(r & 7) * 2 + r / 8];
  *reinterpret_cast<u32*>(y + (i64)blockIdx.y * y_stride + k) = narrow2(values[pair & 15] * scale, values[pair >> 4] * scale);
}
