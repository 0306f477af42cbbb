// Rows of a weight with an adapter folded in: w'[o, i] = g[o] w[o, i] l[i] + sum over r of B[o, r] A[r, i], in f32, rounded to the target's type.
// Grid: (pieces of 256 inputs, groups of 8 rows). A thread has one input of 8 rows, so that an element of A is read once for the 8.
#include "tables.cuh"

#define ROWS 8

__device__ __forceinline__ void keep(float* at, float value) { *at = value; }
__device__ __forceinline__ void keep(bf16* at, float value) { *at = narrow(value); }

template <class Table, class T>
__device__ __forceinline__ void fold(
    const u8* weights, const u8* scales, int stride, const float* output_scale, const float* input_scale, const float* a, const float* b,
    int rank, int first_row, int rows, int columns, T* y, int y_stride) {
  const int column = blockIdx.x * 256 + threadIdx.x, first = blockIdx.y * ROWS;
  if (!MASK(column < columns)) return;
  const float l = input_scale ? input_scale[column] : 1.f;
  float sums[ROWS];
#pragma unroll
  for (int j = 0; j < ROWS; j++) {
    const int row = first + j;
    sums[j] = row < rows ? Table::at(weights, scales, stride, first_row + row, column) * (output_scale ? output_scale[row] : 1.f) * l : 0.f;
  }
  for (int r = 0; r < rank; r++) {
    const float value = a[(i64)r * columns + column];
#pragma unroll
    for (int j = 0; j < ROWS; j++) {
      if (first + j < rows) sums[j] = fmaf(b[(i64)(first + j) * rank + r], value, sums[j]);
    }
  }
#pragma unroll
  for (int j = 0; j < ROWS; j++) {
    if (MASK(first + j < rows)) keep(y + (i64)(first_row + first + j) * y_stride + column, sums[j]);
  }
}

#define FOLD(name, Table, T)                                                                                                            \
  extern "C" __global__ void __launch_bounds__(256) name(                                                                               \
      const u8* __restrict__ weights, const u8* __restrict__ scales, int stride, const float* __restrict__ output_scale,                \
      const float* __restrict__ input_scale, const float* __restrict__ a, const float* __restrict__ b, int rank, int first_row, int rows, \
      int columns, T* __restrict__ y, int y_stride) {                                                                                   \
    fold<Table>(weights, scales, stride, output_scale, input_scale, a, b, rank, first_row, rows, columns, y, y_stride);                 \
  }

FOLD(fold_f32_f32, F32Table, float)
FOLD(fold_bf16_f32, BF16Table, float)
FOLD(fold_int8_f32, Int8Table, float)
FOLD(fold_nf4_f32, NF4Table, float)
FOLD(fold_f32_bf16, F32Table, bf16)
FOLD(fold_bf16_bf16, BF16Table, bf16)
FOLD(fold_int8_bf16, Int8Table, bf16)
FOLD(fold_nf4_bf16, NF4Table, bf16)
