// Operations on single elements. Grid: (pieces of 256 columns, rows).
#include "common.cuh"

// Activation.cs, in its order.
enum { SILU, GELU_TANH, GELU, RELU };

__device__ __forceinline__ float activate(float x, int activation) {
  switch (activation) {
    case SILU: return x / (1.f + expf(-x));
    case GELU_TANH: return 0.5f * x * (1.f + tanhf(0.7978845608028654f * (x + 0.044715f * x * x * x)));
    case GELU: return 0.5f * x * (1.f + erff(x * 0.7071067811865476f));
    default: return fmaxf(x, 0.f);
  }
}

// The element of this thread in a row of `stride`, or false outside.
__device__ __forceinline__ bool element_at(int columns, const int* rows_pointer, int rows, int* row, int* column) {
  *column = blockIdx.x * 256 + threadIdx.x;
  *row = blockIdx.y;
  return *column < columns && *row < row_count(rows_pointer, rows);
}

// y = factor * y.
extern "C" __global__ void __launch_bounds__(256) scale(float factor, float* y, int y_stride, int columns, const int* rows_pointer, int rows) {
  int row, column;
  if (!element_at(columns, rows_pointer, rows, &row, &column)) return;
  float* at = y + (i64)row * y_stride + column;
  *at = factor * *at;
}

// y += x
extern "C" __global__ void __launch_bounds__(256) add(
    const float* __restrict__ x, int x_stride, float* __restrict__ y, int y_stride, int columns, const int* rows_pointer, int rows) {
  int row, column;
  if (!element_at(columns, rows_pointer, rows, &row, &column)) return;
  y[(i64)row * y_stride + column] += x[(i64)row * x_stride + column];
}

// y[t] += bias
extern "C" __global__ void __launch_bounds__(256) add_bias(
    const float* __restrict__ bias, float* __restrict__ y, int y_stride, int columns, const int* rows_pointer, int rows) {
  int row, column;
  if (!element_at(columns, rows_pointer, rows, &row, &column)) return;
  y[(i64)row * y_stride + column] += bias[column];
}

// y = cap tanh(y / cap)
extern "C" __global__ void __launch_bounds__(256) soft_cap(float cap, float* y, int y_stride, int columns, const int* rows_pointer, int rows) {
  int row, column;
  if (!element_at(columns, rows_pointer, rows, &row, &column)) return;
  float* at = y + (i64)row * y_stride + column;
  *at = cap * tanhf(*at / cap);
}

// y = act(y)
extern "C" __global__ void __launch_bounds__(256) activation(
    int activation, float* y, int y_stride, int columns, const int* rows_pointer, int rows) {
  int row, column;
  if (!element_at(columns, rows_pointer, rows, &row, &column)) return;
  float* at = y + (i64)row * y_stride + column;
  *at = activate(*at, activation);
}

// y[t, i] = act(x[t, i]) * x[t, I + i]; columns is I.
extern "C" __global__ void __launch_bounds__(256) gated_activation(
    int activation, const float* __restrict__ x, int x_stride, float* __restrict__ y, int y_stride, int columns, const int* rows_pointer,
    int rows) {
  int row, column;
  if (!element_at(columns, rows_pointer, rows, &row, &column)) return;
  const float* in = x + (i64)row * x_stride + column;
  y[(i64)row * y_stride + column] = activate(in[0], activation) * in[columns];
}

// y[i] = x[picked[i]]
extern "C" __global__ void __launch_bounds__(256) gather_sampled_rows(
    const float* __restrict__ x, int x_stride, const int* __restrict__ picked, float* __restrict__ y, int y_stride, int columns,
    const int* rows_pointer, int rows) {
  int row, column;
  if (!element_at(columns, rows_pointer, rows, &row, &column)) return;
  y[(i64)row * y_stride + column] = x[(i64)picked[row] * x_stride + column];
}
