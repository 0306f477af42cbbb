// forward: s = cap(scale q k^T), p = softmax(mask(s)), y = p v, over whole sequences.
// With dp = dy v^T and delta = sum over the row of p dp: ds = p (dp - delta) cap' scale, dq += ds k, dk += ds^T q, dv += p^T dy.
//
// Scores are computed again, tile by tile (32 queries, 32 keys), all in f32. First kernel: a block has the queries of one tile and head and goes
// over the keys twice, for the row's softmax and delta, then for dq. Second kernel: a block has the keys of one tile and key/value head and goes over
// the query heads that share it, in order, and the query tiles from the keys on: nobody else adds to its dk and dv.
#include "attention_backward.cuh"

#define TILE 32
#define LD (TILE + 1)  // rows of a score tile; odd, so that a column lies in 32 banks

struct AttentionShape {
  int group, head_size, window;
  float scale, cap;
};

// Rows [first, first + 32) of one head into a tile of rows of `ld`; beyond `length` zeros.
__device__ __forceinline__ void load_tile(
    float* tile, int ld, const float* source, i64 stride, int first, int length, int head_size) {
  for (int i = threadIdx.x; i < TILE * head_size; i += 256) {
    const int row = i / head_size, d = i % head_size;
    tile[row * ld + d] = first + row < length ? source[(first + row) * stride + d] : 0.f;
  }
}

// Raw scores and dp of the tile: thread (y, x) has queries y, y + 16 and keys x, x + 16.
__device__ __forceinline__ void tile_products(
    float (&s)[2][2], float (&dp)[2][2], const float* q, const float* dy, const float* k, const float* v, int ld, int head_size) {
  const int x = threadIdx.x & 15, y = threadIdx.x >> 4;
#pragma unroll
  for (int i = 0; i < 2; i++) {
#pragma unroll
    for (int j = 0; j < 2; j++) s[i][j] = dp[i][j] = 0.f;
  }
  for (int d = 0; d < head_size; d++) {
    float left[2], out[2], right[2], value[2];
#pragma unroll
    for (int i = 0; i < 2; i++) {
      left[i] = q[(y + i * 16) * ld + d];
      out[i] = dy[(y + i * 16) * ld + d];
      right[i] = k[(x + i * 16) * ld + d];
      value[i] = v[(x + i * 16) * ld + d];
    }
#pragma unroll
    for (int i = 0; i < 2; i++) {
#pragma unroll
      for (int j = 0; j < 2; j++) {
        s[i][j] = fmaf(left[i], right[j], s[i][j]);
        dp[i][j] = fmaf(out[i], value[j], dp[i][j]);
      }
    }
  }
}

// Shared memory of both kernels: four tiles of rows, then two of scores; see AttentionBackward.cs.
#define TILES(memory, ld)                       \
  float* const q_tile = memory;                 \
  float* const dy_tile = q_tile + TILE * ld;    \
  float* const k_tile = dy_tile + TILE * ld;    \
  float* const v_tile = k_tile + TILE * ld;     \
  float* const p_tile = v_tile + TILE * ld;     \
  float* const ds_tile = p_tile + TILE * LD

// dq, and for each query and head the log of the softmax's denominator and delta, into statistics [heads, rows, 2].
// Grid: (query tiles, heads). tiles holds for each the first row, the length and the first position of its sequence's part.
// A thread adds up dq of query threadIdx.x / 8 for elements threadIdx.x % 8 + 8 c.
template <int PARTS>
__device__ __forceinline__ void attention_backward_queries(
    const float* __restrict__ q, i64 q_stride, const float* __restrict__ k, i64 k_stride, const float* __restrict__ v, i64 v_stride,
    const float* __restrict__ dy, i64 dy_stride, float* __restrict__ dq, i64 dq_stride, const int* __restrict__ tiles,
    float* __restrict__ statistics, int rows, AttentionShape shape) {
  SHARED_DYN(float, memory);
  SHARED_ARRAY(float, logs, TILE);
  SHARED_ARRAY(float, deltas, TILE);
  const int ld = shape.head_size | 1;
  TILES(memory, ld);
  const int first_row = tiles[blockIdx.x * 3], length = tiles[blockIdx.x * 3 + 1], first = tiles[blockIdx.x * 3 + 2];
  const int head = blockIdx.y, kv_head = head / shape.group, size = shape.head_size;
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  const int x = threadIdx.x & 15, y = threadIdx.x >> 4;
  const int from = first_key(first, shape.window, TILE), to = min(length, first + TILE);
  const float* keys = k + first_row * k_stride + kv_head * size;
  const float* values = v + first_row * v_stride + kv_head * size;
  load_tile(q_tile, ld, q + first_row * q_stride + head * size, q_stride, first, length, size);
  load_tile(dy_tile, ld, dy + first_row * dy_stride + head * size, dy_stride, first, length, size);

  // Warp w keeps the maximum, the sum of e^(s - maximum) and of e^(s - maximum) dp of queries w, w + 8, w + 16, w + 24; a lane is a key.
  float maximum[4], sum[4], product[4];
#pragma unroll
  for (int i = 0; i < 4; i++) {
    maximum[i] = -3.4e38f;
    sum[i] = product[i] = 0.f;
  }
  for (int key = from; key < to; key += TILE) {
    load_tile(k_tile, ld, keys, k_stride, key, length, size);
    load_tile(v_tile, ld, values, v_stride, key, length, size);
    __syncthreads();
    float s[2][2], dp[2][2];
    tile_products(s, dp, q_tile, dy_tile, k_tile, v_tile, ld, size);
#pragma unroll
    for (int i = 0; i < 2; i++) {
#pragma unroll
      for (int j = 0; j < 2; j++) {
        float slope;
        const bool visible = Sight(first + y + i * 16, length, shape.window).sees(key + x + j * 16);
        p_tile[(y + i * 16) * LD + x + j * 16] = visible ? capped(s[i][j], shape.scale, shape.cap, &slope) : -INF;
        ds_tile[(y + i * 16) * LD + x + j * 16] = dp[i][j];
      }
    }
    __syncthreads();
#pragma unroll
    for (int i = 0; i < 4; i++) {
      const float score = p_tile[(warp + i * 8) * LD + lane];
      const float above = fmaxf(maximum[i], warp_max(score));
      const float weight = expf(score - above), shrink = expf(maximum[i] - above);
      sum[i] = sum[i] * shrink + warp_sum(weight);
      product[i] = product[i] * shrink + warp_sum(weight * ds_tile[(warp + i * 8) * LD + lane]);
      maximum[i] = above;
    }
  }
#pragma unroll
  for (int i = 0; i < 4; i++) {
    const int row = warp + i * 8;
    if (lane == 0 && first + row < length) {
      const float log_sum = maximum[i] + logf(sum[i]), delta = product[i] / sum[i];
      logs[row] = log_sum;
      deltas[row] = delta;
      float* out = statistics + ((i64)head * rows + first_row + first + row) * 2;
      out[0] = log_sum;
      out[1] = delta;
    }
  }

  float gradient[PARTS];
#pragma unroll
  for (int c = 0; c < PARTS; c++) gradient[c] = 0.f;
  const int own = threadIdx.x >> 3, part = threadIdx.x & 7;
  for (int key = from; key < to; key += TILE) {
    __syncthreads();
    load_tile(k_tile, ld, keys, k_stride, key, length, size);
    load_tile(v_tile, ld, values, v_stride, key, length, size);
    __syncthreads();
    float s[2][2], dp[2][2];
    tile_products(s, dp, q_tile, dy_tile, k_tile, v_tile, ld, size);
#pragma unroll
    for (int i = 0; i < 2; i++) {
#pragma unroll
      for (int j = 0; j < 2; j++) {
        const int row = y + i * 16, column = x + j * 16;
        float ds = 0.f;
        if (Sight(first + row, length, shape.window).sees(key + column)) {
          float slope;
          const float p = expf(capped(s[i][j], shape.scale, shape.cap, &slope) - logs[row]);
          ds = p * (dp[i][j] - deltas[row]) * slope;
        }
        ds_tile[row * LD + column] = ds;
      }
    }
    __syncthreads();
    for (int j = 0; j < TILE; j++) {
      const float ds = ds_tile[own * LD + j];
#pragma unroll
      for (int c = 0; c < PARTS; c++) {
        const int d = part + c * 8;
        if (d < size) gradient[c] = fmaf(ds, k_tile[j * ld + d], gradient[c]);
      }
    }
  }
  if (first + own < length) {
    float* out = dq + (first_row + first + own) * dq_stride + head * size;
#pragma unroll
    for (int c = 0; c < PARTS; c++) {
      const int d = part + c * 8;
      if (d < size) out[d] += gradient[c];
    }
  }
}

// dk and dv. Grid: (key tiles, key/value heads); tiles and statistics as above. A thread adds up the elements threadIdx.x % 8 + 8 c of key
// threadIdx.x / 8.
template <int PARTS>
__device__ __forceinline__ void attention_backward_keys(
    const float* __restrict__ q, i64 q_stride, const float* __restrict__ k, i64 k_stride, const float* __restrict__ v, i64 v_stride,
    const float* __restrict__ dy, i64 dy_stride, float* __restrict__ dk, i64 dk_stride, float* __restrict__ dv, i64 dv_stride,
    const int* __restrict__ tiles, const float* __restrict__ statistics, int rows, AttentionShape shape) {
  SHARED_DYN(float, memory);
  const int ld = shape.head_size | 1;
  TILES(memory, ld);
  const int first_row = tiles[blockIdx.x * 3], length = tiles[blockIdx.x * 3 + 1], first = tiles[blockIdx.x * 3 + 2];
  const int kv_head = blockIdx.y, size = shape.head_size;
  const int x = threadIdx.x & 15, y = threadIdx.x >> 4;
  const int own = threadIdx.x >> 3, part = threadIdx.x & 7;
  load_tile(k_tile, ld, k + first_row * k_stride + kv_head * size, k_stride, first, length, size);
  load_tile(v_tile, ld, v + first_row * v_stride + kv_head * size, v_stride, first, length, size);
  float key_gradient[PARTS], value_gradient[PARTS];
#pragma unroll
  for (int c = 0; c < PARTS; c++) key_gradient[c] = value_gradient[c] = 0.f;

  const int to = last_query(first, shape.window, TILE, length);
  for (int head = kv_head * shape.group; head < (kv_head + 1) * shape.group; head++) {
    const float* row_statistics = statistics + ((i64)head * rows + first_row) * 2;
    for (int query = first; query < to; query += TILE) {
      __syncthreads();
      load_tile(q_tile, ld, q + first_row * q_stride + head * size, q_stride, query, length, size);
      load_tile(dy_tile, ld, dy + first_row * dy_stride + head * size, dy_stride, query, length, size);
      __syncthreads();
      float s[2][2], dp[2][2];
      tile_products(s, dp, q_tile, dy_tile, k_tile, v_tile, ld, size);
#pragma unroll
      for (int i = 0; i < 2; i++) {
#pragma unroll
        for (int j = 0; j < 2; j++) {
          const int row = y + i * 16, column = x + j * 16;
          float p = 0.f, ds = 0.f;
          if (Sight(query + row, length, shape.window).sees(first + column)) {
            float slope;
            p = expf(capped(s[i][j], shape.scale, shape.cap, &slope) - row_statistics[(query + row) * 2]);
            ds = p * (dp[i][j] - row_statistics[(query + row) * 2 + 1]) * slope;
          }
          p_tile[row * LD + column] = p;
          ds_tile[row * LD + column] = ds;
        }
      }
      __syncthreads();
      for (int i = 0; i < TILE; i++) {
        const float p = p_tile[i * LD + own], ds = ds_tile[i * LD + own];
#pragma unroll
        for (int c = 0; c < PARTS; c++) {
          const int d = part + c * 8;
          if (d < size) {
            key_gradient[c] = fmaf(ds, q_tile[i * ld + d], key_gradient[c]);
            value_gradient[c] = fmaf(p, dy_tile[i * ld + d], value_gradient[c]);
          }
        }
      }
    }
  }
  if (first + own < length) {
    float* key_out = dk + (first_row + first + own) * dk_stride + kv_head * size;
    float* value_out = dv + (first_row + first + own) * dv_stride + kv_head * size;
#pragma unroll
    for (int c = 0; c < PARTS; c++) {
      const int d = part + c * 8;
      if (d < size) {
        key_out[d] += key_gradient[c];
        value_out[d] += value_gradient[c];
      }
    }
  }
}

// One pair of kernels for head sizes up to each power of two: sums stay in registers.
#define ATTENTION_BACKWARD(SIZE)                                                                                                         \
  extern "C" __global__ void __launch_bounds__(256) attention_backward_queries_##SIZE(                                                   \
      const float* q, i64 q_stride, const float* k, i64 k_stride, const float* v, i64 v_stride, const float* dy, i64 dy_stride,          \
      float* dq, i64 dq_stride, const int* tiles, float* statistics, int rows, int group, int head_size, int window,                     \
      float scale, float cap) {                                                                                                          \
    attention_backward_queries<SIZE / 8>(                                                                                                \
        q, q_stride, k, k_stride, v, v_stride, dy, dy_stride, dq, dq_stride, tiles, statistics, rows,                                    \
        AttentionShape{group, head_size, window, scale, cap});                                                                           \
  }                                                                                                                                      \
  extern "C" __global__ void __launch_bounds__(256) attention_backward_keys_##SIZE(                                                      \
      const float* q, i64 q_stride, const float* k, i64 k_stride, const float* v, i64 v_stride, const float* dy, i64 dy_stride,          \
      float* dk, i64 dk_stride, float* dv, i64 dv_stride, const int* tiles, const float* statistics, int rows, int group,                \
      int head_size, int window, float scale, float cap) {                                                                               \
    attention_backward_keys<SIZE / 8>(                                                                                                   \
        q, q_stride, k, k_stride, v, v_stride, dy, dy_stride, dk, dk_stride, dv, dv_stride, tiles, statistics, rows,                     \
        AttentionShape{group, head_size, window, scale, cap});                                                                           \
  }

ATTENTION_BACKWARD(32)
ATTENTION_BACKWARD(64)
ATTENTION_BACKWARD(128)
ATTENTION_BACKWARD(256)
