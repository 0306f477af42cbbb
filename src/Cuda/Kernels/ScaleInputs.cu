// y = (1 + sum w (input_scale - 1)) x for rows whose adapters scale the module's input; other rows are copied. y may be x.
// Grid: (pieces of 256 columns, rows).
#include "adapters.cuh"

extern "C" __global__ void __launch_bounds__(256) scale_inputs(
    const int2* __restrict__ row_entries, const LoraEntry* __restrict__ all_entries, int module, const float* x, int x_stride, float* y,
    int y_stride, int columns, const int* rows_pointer, int rows) {
  const int row = blockIdx.y, column = blockIdx.x * 256 + threadIdx.x;
  if (row >= row_count(rows_pointer, rows) || column >= columns) return;
  const int2 own = row_entries ? row_entries[row] : make_int2(0, 0);
  const float value = x[(i64)row * x_stride + column];
  float factor[1];
  const bool any = stacked_scales(all_entries + own.x, own.y & ~TILE_FLAG, module, true, column, 1, factor);
  y[(i64)row * y_stride + column] = any ? factor[0] * value : value;
}
