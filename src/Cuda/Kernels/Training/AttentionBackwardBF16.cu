// What AttentionBackward.cu does, by mma.sync: q, k, v, dy, p and ds are rounded to bf16, sums are f32. Head sizes are known to the compiler.
//
// A block has 8 warps and goes by tiles of 64 queries and 64 keys. For scores and dp, warp w has the queries 16 (w % 4) .. and the keys
// 32 (w / 4) .. of the tile; for the gradients the rows 16 (w % 4) .. and half w / 4 of the head's elements. Fragments (PTX ISA, "Matrix
// Fragments for mma.m16n8k16"): lane l has rows l / 4 and l / 4 + 8, columns 2 (l % 4) and the next. Rows of shared memory are 8 elements longer
// than they need: eight of them, as ldmatrix reads them, lie in different banks.
#include "attention_backward.cuh"

#define TILE 64
#define THREADS 256
#define SCORE_LD (TILE + 8)

struct AttentionShape {
  int group, window;
  float scale, cap;
};

// Rows [first, first + 64) of one head as bf16; beyond `length` zeros.
template <int D>
__device__ __forceinline__ void load_tile(bf16* tile, const float* source, i64 stride, int first, int length) {
#pragma unroll 2
  for (int i = threadIdx.x; i < TILE * D / 2; i += THREADS) {
    const int row = i / (D / 2), d = i % (D / 2) * 2;
    float low = 0.f, high = 0.f;
    if (first + row < length) {
      const float* at = source + (first + row) * stride + d;
      low = at[0];
      high = at[1];
    }
    *reinterpret_cast<u32*>(tile + row * (D + 8) + d) = narrow2(low, high);
  }
}

// s += a b^T for the warp's 16 rows of a and 32 rows of b, both by rows of D elements.
template <int D>
__device__ __forceinline__ void row_products(float (&s)[4][4], const bf16* a, const bf16* b) {
  const int lane = threadIdx.x & 31;
  const bf16* left = a + (lane & 15) * (D + 8) + (lane >> 4) * 8;
  const bf16* right = b + ((lane & 7) + (lane >> 4) * 8) * (D + 8) + ((lane >> 3) & 1) * 8;
#pragma unroll 2
  for (int d = 0; d < D; d += 16) {
    u32 x[4], y[4];
    ldmatrix_x4(x, left + d);
#pragma unroll
    for (int n = 0; n < 2; n++) {
      ldmatrix_x4(y, right + n * 16 * (D + 8) + d);
      mma16816(s[2 * n], x, {y[0], y[1]});
      mma16816(s[2 * n + 1], x, {y[2], y[3]});
    }
  }
}

// g += w b for 16 rows of weights w [.., 64] and N columns of b, by rows of D elements; `w` points to the rows, or with TURNED to the columns of
// a tile whose transpose w is.
template <int D, int N, bool TURNED>
__device__ __forceinline__ void weigh_rows(float (&g)[N / 8][4], const bf16* w, const bf16* b) {
  const int lane = threadIdx.x & 31;
  const bf16* left = TURNED ? w + ((lane & 7) + (lane >> 4) * 8) * SCORE_LD + ((lane >> 3) & 1) * 8
                            : w + (lane & 15) * SCORE_LD + (lane >> 4) * 8;
  const bf16* right = b + (lane & 15) * (D + 8) + (lane >> 4) * 8;
#pragma unroll 2
  for (int k = 0; k < TILE; k += 16) {
    u32 x[4], y[4];
    if (TURNED) {
      ldmatrix_x4_trans(x, left + k * SCORE_LD);
    } else {
      ldmatrix_x4(x, left + k);
    }
#pragma unroll
    for (int n = 0; n < N / 16; n++) {
      ldmatrix_x4_trans(y, right + k * (D + 8) + n * 16);
      mma16816(g[2 * n], x, {y[0], y[1]});
      mma16816(g[2 * n + 1], x, {y[2], y[3]});
    }
  }
}

__device__ __forceinline__ float quad_max(float v) {
  v = fmaxf(v, __shfl_xor_sync(FULL, v, 1));
  return fmaxf(v, __shfl_xor_sync(FULL, v, 2));
}

__device__ __forceinline__ float quad_sum(float v) {
  v += __shfl_xor_sync(FULL, v, 1);
  return v + __shfl_xor_sync(FULL, v, 2);
}

// The parts of shared memory; see AttentionBackward.cs.
#define TILES(memory)                              \
  bf16* const q_tile = memory;                     \
  bf16* const dy_tile = q_tile + TILE * (D + 8);   \
  bf16* const k_tile = dy_tile + TILE * (D + 8);   \
  bf16* const v_tile = k_tile + TILE * (D + 8);    \
  bf16* const ds_tile = v_tile + TILE * (D + 8)

// dq, and for each query and head the log of the softmax's denominator and delta, into statistics [heads, rows, 2].
// Grid: (query tiles, heads). tiles holds for each the first row, the length and the first position of its sequence's part.
template <int D>
__device__ __forceinline__ void attention_backward_queries(
    const float* __restrict__ q, i64 q_stride, const float* __restrict__ k, i64 k_stride, const float* __restrict__ v, i64 v_stride,
    const float* __restrict__ dy, i64 dy_stride, float* __restrict__ dq, i64 dq_stride, const int* __restrict__ tiles,
    float* __restrict__ statistics, int rows, AttentionShape shape) {
  SHARED_DYN(bf16, memory);
  SHARED_ARRAY(float, halves, 2 * TILE * 3);
  SHARED_ARRAY(float, logs, TILE);
  SHARED_ARRAY(float, deltas, TILE);
  TILES(memory);
  const int first_row = tiles[blockIdx.x * 3], length = tiles[blockIdx.x * 3 + 1], first = tiles[blockIdx.x * 3 + 2];
  const int head = blockIdx.y, kv_head = head / shape.group;
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  const int row = (warp & 3) * 16, half = warp >> 2;
  const int from = first_key(first, shape.window, TILE), to = min(length, first + TILE);
  const float* keys = k + first_row * k_stride + kv_head * D;
  const float* values = v + first_row * v_stride + kv_head * D;
  load_tile<D>(q_tile, q + first_row * q_stride + head * D, q_stride, first, length);
  load_tile<D>(dy_tile, dy + first_row * dy_stride + head * D, dy_stride, first, length);

  // Of the two rows of this lane and the keys of this warp: the maximum, the sum of e^(s - maximum), and that of e^(s - maximum) dp.
  float maximum[2] = {-3.4e38f, -3.4e38f}, sum[2] = {}, product[2] = {};
  for (int key = from; key < to; key += TILE) {
    load_tile<D>(k_tile, keys, k_stride, key, length);
    load_tile<D>(v_tile, values, v_stride, key, length);
    __syncthreads();
    float s[4][4] = {}, dp[4][4] = {};
    row_products<D>(s, q_tile + row * (D + 8), k_tile + half * 32 * (D + 8));
    row_products<D>(dp, dy_tile + row * (D + 8), v_tile + half * 32 * (D + 8));
    __syncthreads();
#pragma unroll
    for (int r = 0; r < 2; r++) {
      const Sight sight(first + row + r * 8 + lane / 4, length, shape.window);
      float above = maximum[r];
#pragma unroll
      for (int i = 0; i < 8; i++) {
        float& score = s[i / 2][r * 2 + (i & 1)];
        float slope;
        const bool visible = sight.sees(key + half * 32 + i / 2 * 8 + (lane & 3) * 2 + (i & 1));
        score = visible ? capped(score, shape.scale, shape.cap, &slope) : -INF;
        above = fmaxf(above, score);
      }
      above = quad_max(above);
      float weights = 0.f, products = 0.f;
#pragma unroll
      for (int i = 0; i < 8; i++) {
        const float weight = expf(s[i / 2][r * 2 + (i & 1)] - above);
        weights += weight;
        products = fmaf(weight, dp[i / 2][r * 2 + (i & 1)], products);
      }
      const float shrink = expf(maximum[r] - above);
      sum[r] = sum[r] * shrink + quad_sum(weights);
      product[r] = product[r] * shrink + quad_sum(products);
      maximum[r] = above;
    }
  }
  if ((lane & 3) == 0) {
#pragma unroll
    for (int r = 0; r < 2; r++) {
      float* out = halves + (half * TILE + row + r * 8 + lane / 4) * 3;
      out[0] = maximum[r];
      out[1] = sum[r];
      out[2] = product[r];
    }
  }
  __syncthreads();
  if (threadIdx.x < TILE && first + threadIdx.x < length) {
    const float* low = halves + threadIdx.x * 3;
    const float* high = low + TILE * 3;
    const float above = fmaxf(low[0], high[0]);
    const float left = expf(low[0] - above), right = expf(high[0] - above);
    const float total = low[1] * left + high[1] * right;
    const float log_sum = above + logf(total), delta = (low[2] * left + high[2] * right) / total;
    logs[threadIdx.x] = log_sum;
    deltas[threadIdx.x] = delta;
    float* out = statistics + ((i64)head * rows + first_row + first + threadIdx.x) * 2;
    out[0] = log_sum;
    out[1] = delta;
  }

  float gradient[D / 16][4] = {};
  for (int key = from; key < to; key += TILE) {
    load_tile<D>(k_tile, keys, k_stride, key, length);
    load_tile<D>(v_tile, values, v_stride, key, length);
    __syncthreads();
    float s[4][4] = {}, dp[4][4] = {};
    row_products<D>(s, q_tile + row * (D + 8), k_tile + half * 32 * (D + 8));
    row_products<D>(dp, dy_tile + row * (D + 8), v_tile + half * 32 * (D + 8));
#pragma unroll
    for (int n = 0; n < 4; n++) {
#pragma unroll
      for (int r = 0; r < 2; r++) {
        const int y = row + r * 8 + lane / 4, x = half * 32 + n * 8 + (lane & 3) * 2;
        const Sight sight(first + y, length, shape.window);
        float ds[2];
#pragma unroll
        for (int j = 0; j < 2; j++) {
          ds[j] = 0.f;
          if (sight.sees(key + x + j)) {
            float slope;
            const float p = expf(capped(s[n][r * 2 + j], shape.scale, shape.cap, &slope) - logs[y]);
            ds[j] = p * (dp[n][r * 2 + j] - deltas[y]) * slope;
          }
        }
        *reinterpret_cast<u32*>(ds_tile + y * SCORE_LD + x) = narrow2(ds[0], ds[1]);
      }
    }
    __syncthreads();
    weigh_rows<D, D / 2, false>(gradient, ds_tile + row * SCORE_LD, k_tile + half * (D / 2));
    __syncthreads();
  }
#pragma unroll
  for (int n = 0; n < D / 16; n++) {
#pragma unroll
    for (int r = 0; r < 2; r++) {
      const int y = first + row + r * 8 + lane / 4;
      if (MASK(y < length)) {
        float* out = dq + (first_row + y) * dq_stride + head * D + half * (D / 2) + n * 8 + (lane & 3) * 2;
        out[0] += gradient[n][r * 2];
        out[1] += gradient[n][r * 2 + 1];
      }
    }
  }
}

// dk and dv. Grid: (key tiles, key/value heads); tiles and statistics as above. The queries of a tile are rows of scores here too: their transposes
// multiply dy and q.
template <int D>
__device__ __forceinline__ void attention_backward_keys(
    const float* __restrict__ q, i64 q_stride, const float* __restrict__ k, i64 k_stride, const float* __restrict__ v, i64 v_stride,
    const float* __restrict__ dy, i64 dy_stride, float* __restrict__ dk, i64 dk_stride, float* __restrict__ dv, i64 dv_stride,
    const int* __restrict__ tiles, const float* __restrict__ statistics, int rows, AttentionShape shape) {
  SHARED_DYN(bf16, memory);
  TILES(memory);
  bf16* const p_tile = ds_tile + TILE * SCORE_LD;
  const int first_row = tiles[blockIdx.x * 3], length = tiles[blockIdx.x * 3 + 1], first = tiles[blockIdx.x * 3 + 2];
  const int kv_head = blockIdx.y;
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  const int row = (warp & 3) * 16, half = warp >> 2;
  load_tile<D>(k_tile, k + first_row * k_stride + kv_head * D, k_stride, first, length);
  load_tile<D>(v_tile, v + first_row * v_stride + kv_head * D, v_stride, first, length);
  float key_gradient[D / 16][4] = {}, value_gradient[D / 16][4] = {};
  const int to = last_query(first, shape.window, TILE, length);
  for (int head = kv_head * shape.group; head < (kv_head + 1) * shape.group; head++) {
    const float* row_statistics = statistics + ((i64)head * rows + first_row) * 2;
    for (int query = first; query < to; query += TILE) {
      load_tile<D>(q_tile, q + first_row * q_stride + head * D, q_stride, query, length);
      load_tile<D>(dy_tile, dy + first_row * dy_stride + head * D, dy_stride, query, length);
      __syncthreads();
      float s[4][4] = {}, dp[4][4] = {};
      row_products<D>(s, q_tile + row * (D + 8), k_tile + half * 32 * (D + 8));
      row_products<D>(dp, dy_tile + row * (D + 8), v_tile + half * 32 * (D + 8));
#pragma unroll
      for (int r = 0; r < 2; r++) {
        const int y = row + r * 8 + lane / 4;
        const bool inside = query + y < length;
        const Sight sight(query + y, length, shape.window);
        const float log_sum = inside ? row_statistics[(query + y) * 2] : 0.f, delta = inside ? row_statistics[(query + y) * 2 + 1] : 0.f;
#pragma unroll
        for (int n = 0; n < 4; n++) {
          const int x = half * 32 + n * 8 + (lane & 3) * 2;
          float p[2], ds[2];
#pragma unroll
          for (int j = 0; j < 2; j++) {
            p[j] = ds[j] = 0.f;
            if (sight.sees(first + x + j)) {
              float slope;
              p[j] = expf(capped(s[n][r * 2 + j], shape.scale, shape.cap, &slope) - log_sum);
              ds[j] = p[j] * (dp[n][r * 2 + j] - delta) * slope;
            }
          }
          *reinterpret_cast<u32*>(p_tile + y * SCORE_LD + x) = narrow2(p[0], p[1]);
          *reinterpret_cast<u32*>(ds_tile + y * SCORE_LD + x) = narrow2(ds[0], ds[1]);
        }
      }
      __syncthreads();
      weigh_rows<D, D / 2, true>(value_gradient, p_tile + row, dy_tile + half * (D / 2));
      weigh_rows<D, D / 2, true>(key_gradient, ds_tile + row, q_tile + half * (D / 2));
      __syncthreads();
    }
  }
#pragma unroll
  for (int n = 0; n < D / 16; n++) {
#pragma unroll
    for (int r = 0; r < 2; r++) {
      const int y = first + row + r * 8 + lane / 4;
      if (MASK(y < length)) {
        const int column = kv_head * D + half * (D / 2) + n * 8 + (lane & 3) * 2;
        float* key_out = dk + (first_row + y) * dk_stride + column;
        float* value_out = dv + (first_row + y) * dv_stride + column;
        key_out[0] += key_gradient[n][r * 2];
        key_out[1] += key_gradient[n][r * 2 + 1];
        value_out[0] += value_gradient[n][r * 2];
        value_out[1] += value_gradient[n][r * 2 + 1];
      }
    }
  }
}

// The parameters are those of AttentionBackward.cu.
#define ATTENTION_BACKWARD(SIZE, BLOCKS)                                                                                                \
  extern "C" __global__ void __launch_bounds__(256, BLOCKS) attention_backward_queries_bf16_##SIZE(                                     \
      const float* q, i64 q_stride, const float* k, i64 k_stride, const float* v, i64 v_stride, const float* dy, i64 dy_stride,         \
      float* dq, i64 dq_stride, const int* tiles, float* statistics, int rows, int group, int, int window, float scale, float cap) {    \
    attention_backward_queries<SIZE>(                                                                                                   \
        q, q_stride, k, k_stride, v, v_stride, dy, dy_stride, dq, dq_stride, tiles, statistics, rows,                                   \
        AttentionShape{group, window, scale, cap});                                                                                     \
  }                                                                                                                                     \
  extern "C" __global__ void __launch_bounds__(256, BLOCKS) attention_backward_keys_bf16_##SIZE(                                        \
      const float* q, i64 q_stride, const float* k, i64 k_stride, const float* v, i64 v_stride, const float* dy, i64 dy_stride,         \
      float* dk, i64 dk_stride, float* dv, i64 dv_stride, const int* tiles, const float* statistics, int rows, int group, int,          \
      int window, float scale, float cap) {                                                                                             \
    attention_backward_keys<SIZE>(                                                                                                      \
        q, q_stride, k, k_stride, v, v_stride, dy, dy_stride, dk, dk_stride, dv, dv_stride, tiles, statistics, rows,                    \
        AttentionShape{group, window, scale, cap});                                                                                     \
  }

// Sums stay in registers, two blocks to a multiprocessor where they are that few.
ATTENTION_BACKWARD(32, 2)
ATTENTION_BACKWARD(64, 2)
ATTENTION_BACKWARD(96, 2)
ATTENTION_BACKWARD(128, 2)
ATTENTION_BACKWARD(256, 1)
