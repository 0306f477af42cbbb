// Gathering by index, and the way back. An index picks a row of the table (table_step is its row stride, element_step 1) or a column
// (table_step 1, element_step the row stride).
#include "elements.cuh"

// y[t, c] = table[picked[t] * table_step + c * element_step]. Launch geometry: elements.cuh.
extern "C" __global__ void __launch_bounds__(256) gather_indexed(
    const float* __restrict__ table, i64 table_step, i64 element_step, const int* __restrict__ picked, float* __restrict__ y, i64 y_stride,
    i64 columns, int pieces) {
  for_elements(columns, pieces, [=](int row, i64 column) {
    y[row * y_stride + column] = table[picked[row] * table_step + column * element_step];
  });
}

// forward: y[t] = table[picked[t]]. dtable[target] += dy[t] for all t that picked it, in the order of t.
// A target belongs to one block (and each of its elements to one thread), so the order of additions is fixed. The caller sorted the rows by
// target: group g adds the rows order[starts[g] .. starts[g + 1]) to targets[g]. Launch geometry: elements.cuh, groups instead of rows.
extern "C" __global__ void __launch_bounds__(256) scatter_indexed(
    const float* __restrict__ dy, i64 dy_stride, const int* __restrict__ targets, const int* __restrict__ starts,
    const int* __restrict__ order, float* __restrict__ dtable, i64 table_step, i64 element_step, i64 columns, int pieces) {
  for_elements(columns, pieces, [=](int group, i64 column) {
    float* at = dtable + targets[group] * table_step + column * element_step;
    float sum = *at;
    for (int i = starts[group]; i < starts[group + 1]; i++) sum += dy[order[i] * dy_stride + column];
    *at = sum;
  });
}
