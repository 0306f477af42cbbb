// y[t] = x[t] rounded to bf16. Grid: (pieces of 256 columns, rows).
#include "common.cuh"

extern "C" __global__ void __launch_bounds__(256) narrow_rows(
    const float* __restrict__ x, int x_stride, bf16* __restrict__ y, int y_stride, int columns, int rows) {
  const int column = blockIdx.x * 256 + threadIdx.x;
  if (!MASK(column < columns)) return;
  for (int row = blockIdx.y; row < rows; row += gridDim.y) y[(i64)row * y_stride + column] = narrow(x[(i64)row * x_stride + column]);
}
