// y = factor a b, or added to y: a [m, k], b [k, n], y [m, n], all f32 by f32 additions. Element (i, j) of a operand lies at
// i * row_step + j * column_step; one of the steps is 1, so that the same kernel takes matrices and their transposes.
//
// A block makes a tile of y from panels of 16 columns of a and 16 rows of b in shared memory; a thread holds its part of the tile in registers. While
// one panel is multiplied, the next is on its way to registers. Where y has few tiles, k is cut into slices (grid.z) whose sums are added by a
// second kernel in their order: the number of slices depends on the shape only.
#include "common.cuh"

#define DEPTH 16

// COUNT consecutive elements of shared memory, COUNT * 4 bytes aligned.
template <int COUNT>
__device__ __forceinline__ void load_shared(float (&r)[COUNT], const float* p) {
  if constexpr (COUNT == 4) {
    const float4 v = *reinterpret_cast<const float4*>(p);
    r[0] = v.x, r[1] = v.y, r[2] = v.z, r[3] = v.w;
  } else {
    const float2 v = *reinterpret_cast<const float2*>(p);
    r[0] = v.x, r[1] = v.y;
  }
}

// Part of a panel [WIDTH, 16] that this thread fetches: `wide` runs along the tile's side, `deep` along k; outside are zeros. Neighbouring
// threads take neighbouring addresses.
template <int WIDTH>
struct Panel {
  static constexpr int Count = WIDTH * DEPTH / 256;
  float values[Count];

  __device__ __forceinline__ static void place(int i, bool along_k, int* wide, int* deep) {
    const int at = i * 256 + threadIdx.x;
    *wide = along_k ? at / DEPTH : at % WIDTH;
    *deep = along_k ? at % DEPTH : at / WIDTH;
  }

  __device__ __forceinline__ void fetch(const float* source, i64 wide_step, i64 deep_step, int first, int width, int from, int to) {
#pragma unroll
    for (int i = 0; i < Count; i++) {
      int wide, deep;
      place(i, deep_step == 1, &wide, &deep);
      const bool inside = first + wide < width && from + deep < to;
      values[i] = inside ? source[(first + wide) * wide_step + (from + deep) * deep_step] : 0.f;
    }
  }

  __device__ __forceinline__ void store(float* panel, bool along_k) const {
#pragma unroll
    for (int i = 0; i < Count; i++) {
      int wide, deep;
      place(i, along_k, &wide, &deep);
      panel[deep * (WIDTH + 4) + wide] = values[i];
    }
  }
};

// A tile [M, N] of 256 threads with TM x TN elements each. With slices > 1 the sums go to partial [slices, m, n].
template <int M, int N, int TM, int TN>
__device__ __forceinline__ void multiply(
    float factor, const float* __restrict__ a, i64 a_row_step, i64 a_column_step, const float* __restrict__ b, i64 b_row_step,
    i64 b_column_step, float* y, i64 y_stride, int add, float* partial, int slice_depth, int m, int n, int k) {
  static_assert(M / TM * (N / TN) == 256, "every thread has a part of the tile");
  SHARED_ARRAY(float, a_panel, DEPTH * (M + 4));
  SHARED_ARRAY(float, b_panel, DEPTH * (N + 4));
  const int first_row = blockIdx.y * M, first_column = blockIdx.x * N;
  const int row = threadIdx.x / (N / TN) * TM, column = threadIdx.x % (N / TN) * TN;
  const int from = blockIdx.z * slice_depth, to = min(k, from + slice_depth);
  Panel<M> a_next;
  Panel<N> b_next;
  float sums[TM][TN] = {};
  a_next.fetch(a, a_row_step, a_column_step, first_row, m, from, to);
  b_next.fetch(b, b_column_step, b_row_step, first_column, n, from, to);
  for (int at = from; at < to; at += DEPTH) {
    a_next.store(a_panel, a_column_step == 1);
    b_next.store(b_panel, b_row_step == 1);
    __syncthreads();
    a_next.fetch(a, a_row_step, a_column_step, first_row, m, at + DEPTH, to);
    b_next.fetch(b, b_column_step, b_row_step, first_column, n, at + DEPTH, to);
#pragma unroll
    for (int deep = 0; deep < DEPTH; deep++) {
      float left[TM], right[TN];
      load_shared<TM>(left, a_panel + deep * (M + 4) + row);
      load_shared<TN>(right, b_panel + deep * (N + 4) + column);
#pragma unroll
      for (int i = 0; i < TM; i++) {
#pragma unroll
        for (int j = 0; j < TN; j++) sums[i][j] = fmaf(left[i], right[j], sums[i][j]);
      }
    }
    __syncthreads();
  }

#pragma unroll
  for (int i = 0; i < TM; i++) {
#pragma unroll
    for (int j = 0; j < TN; j++) {
      const int t = first_row + row + i, o = first_column + column + j;
      if (MASK(t < m && o < n)) {
        if (gridDim.z > 1) {
          partial[((i64)blockIdx.z * m + t) * n + o] = sums[i][j];
        } else {
          float* out = y + t * y_stride + o;
          *out = fmaf(factor, sums[i][j], add ? *out : 0.f);
        }
      }
    }
  }
}

#define PRODUCT(name, M, N, TM, TN)                                                                                                  \
  extern "C" __global__ void __launch_bounds__(256) name(                                                                            \
      float factor, const float* __restrict__ a, i64 a_row_step, i64 a_column_step, const float* __restrict__ b, i64 b_row_step,     \
      i64 b_column_step, float* y, i64 y_stride, int add, float* partial, int slice_depth, int m, int n, int k) {                    \
    multiply<M, N, TM, TN>(                                                                                                          \
        factor, a, a_row_step, a_column_step, b, b_row_step, b_column_step, y, y_stride, add, partial, slice_depth, m, n, k);        \
  }

PRODUCT(multiply_square, 64, 64, 4, 4)
PRODUCT(multiply_narrow, 128, 16, 4, 2)
PRODUCT(multiply_flat, 16, 128, 2, 4)

// y = factor * (partial[0] + partial[1] + ...), or added to y. Grid: (pieces of 256 columns, rows).
extern "C" __global__ void __launch_bounds__(256) add_product_slices(
    float factor, const float* __restrict__ partial, int slices, float* y, i64 y_stride, int add, int m, int n, int pieces) {
  const int row = blockIdx.x / pieces, column = (blockIdx.x % pieces) * 256 + threadIdx.x;
  if (!MASK(column < n)) return;
  float sum = 0.f;
  for (int slice = 0; slice < slices; slice++) sum += partial[((i64)slice * m + row) * n + column];
  float* out = y + row * y_stride + column;
  *out = fmaf(factor, sum, add ? *out : 0.f);
}
