// y[t] = table[index[t]], or added to y. Grid: (pieces of 256 columns, rows). `stride` counts elements of a row, of quantised tables records.
#include "tables.cuh"

template <class Table>
__device__ __forceinline__ void gather(
    const u8* weights, const u8* scales, int stride, const int* index, int add, float* y, int y_stride, int columns, const int* rows_pointer,
    int rows) {
  const int column = blockIdx.x * 256 + threadIdx.x, row = blockIdx.y;
  if (!(MASK(column < columns) && MASK(row < row_count(rows_pointer, rows)))) return;
  float* at = y + (i64)row * y_stride + column;
  const float value = Table::at(weights, scales, stride, index[row], column);

  // Not fused with the scale of quantised weights: what is added is the value that the table stands for.
  *at = add ? __fadd_rn(*at, value) : value;
}

#define GATHER(name, Table)                                                                                                              \
  extern "C" __global__ void __launch_bounds__(256) name(                                                                                \
      const u8* __restrict__ weights, const u8* __restrict__ scales, int stride, const int* __restrict__ index, int add, float* y,       \
      int y_stride, int columns, const int* rows_pointer, int rows) {                                                                    \
    gather<Table>(weights, scales, stride, index, add, y, y_stride, columns, rows_pointer, rows);                                        \
  }

GATHER(gather_f32, F32Table)
GATHER(gather_bf16, BF16Table)
GATHER(gather_int8, Int8Table)
GATHER(gather_nf4, NF4Table)
