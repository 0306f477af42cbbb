// Rows of a weight matrix as f32, row by row: y[row, k] = w[first_row + row, k], what the weight stands for to the last bit. `stride` counts
// elements of a row, of quantised weights records. Launch geometry: elements.cuh.
#include "elements.cuh"
#include "quantized.cuh"

extern "C" __global__ void __launch_bounds__(256) unpack_f32(
    const u8* __restrict__ weights, const u8*, int stride, int first_row, float* __restrict__ y, i64 columns, int pieces) {
  for_elements(columns, pieces, [=](int row, i64 column) {
    y[row * columns + column] = reinterpret_cast<const float*>(weights)[(i64)(first_row + row) * stride + column];
  });
}

extern "C" __global__ void __launch_bounds__(256) unpack_bf16(
    const u8* __restrict__ weights, const u8*, int stride, int first_row, float* __restrict__ y, i64 columns, int pieces) {
  for_elements(columns, pieces, [=](int row, i64 column) {
    y[row * columns + column] = widen(reinterpret_cast<const bf16*>(weights)[(i64)(first_row + row) * stride + column]);
  });
}

extern "C" __global__ void __launch_bounds__(256) unpack_int8(
    const u8* __restrict__ weights, const u8* __restrict__ scales, int stride, int first_row, float* __restrict__ y, i64 columns, int pieces) {
  for_elements(columns, pieces, [=](int row, i64 column) {
    y[row * columns + column] = int8_weight(weights, scales, stride, first_row + row, (int)column);
  });
}

extern "C" __global__ void __launch_bounds__(256) unpack_nf4(
    const u8* __restrict__ weights, const u8* __restrict__ scales, int stride, int first_row, float* __restrict__ y, i64 columns, int pieces) {
  for_elements(columns, pieces, [=](int row, i64 column) {
    y[row * columns + column] = nf4_weight(weights, scales, stride, first_row + row, (int)column);
  });
}
