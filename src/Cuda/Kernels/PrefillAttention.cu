// Attention of the sequences with many rows in the step, over bf16 keys and values, by mma.sync; queries and weights are rounded to bf16, sums
// are f32 (Dao, "FlashAttention-2", 2023). Grid: (tiles of lines, K).
//
// Lines: a sequence's query rows times the query heads of a kv head; line i is row i / heads and head i % heads, so that all heads share the
// reading of keys and values. A warp has 16 lines of a block's tile. Keys come in tiles of TILE absolute positions, the next one by cp.async
// while this one is used; a key that a line does not see changes nothing in its sums, so a line has the same bits whatever its tile holds.
// Rows of shared memory are D + 8 elements long: eight of them, as ldmatrix reads them, lie in different banks.
#include "chunks.cuh"

// soft_cap tanh(x), by tanh x = 1 - 2 / (1 + e^2x): the absolute error counts here.
__device__ __forceinline__ float capped(float x, float soft_cap) {
  return soft_cap - __fdividef(2.f * soft_cap, 1.f + exp2_fast(2.f * LOG2E * x));
}

__device__ __forceinline__ float quad_max(float v) {
  v = fmaxf(v, __shfl_xor_sync(FULL, v, 1));
  return fmaxf(v, __shfl_xor_sync(FULL, v, 2));
}

__device__ __forceinline__ float quad_sum(float v) {
  v += __shfl_xor_sync(FULL, v, 1);
  return v + __shfl_xor_sync(FULL, v, 2);
}

__device__ __forceinline__ u32 query_pair(const float* at) { return narrow2(at[0], at[1]); }

// Copies keys and values of positions first .. first + TILE - 1 to shared memory in the background; zeros from `end` on.
template <int D, int TILE, int THREADS>
__device__ __forceinline__ void copy_tile(const PagedHead& pages, const bf16* layer, int first, int end, bf16* keys, bf16* values) {
#pragma unroll
  for (int i = threadIdx.x; i < TILE * (D / 8); i += THREADS) {
    const int r = i / (D / 8);
    const int c = (i - r * (D / 8)) * 8;
    const bool is_real = MASK(first + r < end);
    const bf16* at = layer + pages.at(is_real ? first + r : first) + c;
    cp_async16(keys + r * (D + 8) + c, at, is_real);
    cp_async16(values + r * (D + 8) + c, at + pages.values(), is_real);
  }
}

template <int D, int TILE, int WARPS>
__device__ __forceinline__ void attend(
    const float* q, int q_stride, const bf16* layer, const int* prefilled, int prefilled_count, const int* sequences, const int* blocks,
    int kv_heads, int heads_per_kv, int block_size, int page_stride, float scale, float soft_cap, int window, float* y, int y_stride) {
  constexpr int STRIDE = D + 8;
  constexpr int STAGE = 2 * TILE * STRIDE;
  SHARED_DYN(bf16, memory);

  // The sequence and tile of this block. Later tiles see more keys and go first.
  int tile = blockIdx.x;
  int lines = 0;
  const int* sequence = sequences;
  for (int i = 0; i < prefilled_count; i++) {
    sequence = sequences + 4 * prefilled[i];
    lines = sequence[1] * heads_per_kv;
    const int tiles = (lines + WARPS * 16 - 1) / (WARPS * 16);
    if (tile < tiles) {
      tile = tiles - 1 - tile;
      break;
    }
    tile -= tiles;
  }
  const int first_line = tile * WARPS * 16;
  const int last_line = min(first_line + WARPS * 16, lines) - 1;
  const int first_position = sequence[2] + first_line / heads_per_kv;
  const int last_position = sequence[2] + last_line / heads_per_kv;
  const int head = blockIdx.y;
  const PagedHead pages(blocks + sequence[3], kv_heads, head, block_size, D, page_stride);

  const int warp = threadIdx.x >> 5;
  const int lane = threadIdx.x & 31;
  const int g = lane >> 2;
  const int t = lane & 3;
  const int line_a = min(first_line + warp * 16 + g, last_line);
  const int line_b = min(first_line + warp * 16 + g + 8, last_line);
  const int row_a = line_a / heads_per_kv;
  const int row_b = line_b / heads_per_kv;
  const int position_a = sequence[2] + row_a;
  const int position_b = sequence[2] + row_b;
  const int warp_position = sequence[2] + min(first_line + warp * 16 + 15, last_line) / heads_per_kv;
  const int column_a = (head * heads_per_kv + line_a - row_a * heads_per_kv) * D + 2 * t;
  const int column_b = (head * heads_per_kv + line_b - row_b * heads_per_kv) * D + 2 * t;

  u32 queries[D / 16][4];
  {
    const float* a = q + (i64)(sequence[0] + row_a) * q_stride + column_a;
    const float* b = q + (i64)(sequence[0] + row_b) * q_stride + column_b;
#pragma unroll
    for (int k = 0; k < D / 16; k++) {
      queries[k][0] = query_pair(a + 16 * k);
      queries[k][1] = query_pair(b + 16 * k);
      queries[k][2] = query_pair(a + 16 * k + 8);
      queries[k][3] = query_pair(b + 16 * k + 8);
    }
  }
  float o[D / 8][4];
#pragma unroll
  for (int j = 0; j < D / 8; j++) o[j][0] = o[j][1] = o[j][2] = o[j][3] = 0.f;
  float largest_a = -INF, largest_b = -INF;
  float sum_a = 0.f, sum_b = 0.f;

  // Scores are products, or capped ones; what makes them powers of two is multiplied in where e^x is taken.
  const float inner = soft_cap > 0.f ? scale / soft_cap : 0.f;
  const float outer = soft_cap > 0.f ? LOG2E : scale * LOG2E;

  const int end = last_position + 1;
  int stage = 0;
  int start = window > 0 ? max(0, first_position - window + 1) / TILE * TILE : 0;
  copy_tile<D, TILE, WARPS * 32>(pages, layer, start, end, memory, memory + TILE * STRIDE);
  cp_async_commit();
  for (; start < end; start += TILE) {
    if (start + TILE < end) {
      bf16* next = memory + (stage ^ 1) * STAGE;
      copy_tile<D, TILE, WARPS * 32>(pages, layer, start + TILE, end, next, next + TILE * STRIDE);
    }
    cp_async_commit();
    cp_async_wait_group<1>();
    __syncthreads();
    const bf16* keys = memory + stage * STAGE;
    const bf16* values = keys + TILE * STRIDE;
    stage ^= 1;

    if (start <= warp_position) {
      float s[TILE / 8][4];
#pragma unroll
      for (int j = 0; j < TILE / 8; j++) s[j][0] = s[j][1] = s[j][2] = s[j][3] = 0.f;
#pragma unroll
      for (int k = 0; k < D / 16; k++) {
#pragma unroll
        for (int j = 0; j < TILE / 8; j += 2) {
          u32 r[4];
          ldmatrix_x4(r, keys + (j * 8 + (lane & 7) + (lane >> 4) * 8) * STRIDE + k * 16 + ((lane >> 3) & 1) * 8);
          const u32 b0[2] = {r[0], r[1]};
          const u32 b1[2] = {r[2], r[3]};
          mma16816(s[j], queries[k], b0);
          mma16816(s[j + 1], queries[k], b1);
        }
      }

      const bool all_seen = start + TILE - 1 <= first_position && (window <= 0 || start > last_position - window);
      float most_a = -INF, most_b = -INF;
      if (soft_cap > 0.f) {
#pragma unroll
        for (int j = 0; j < TILE / 8; j++) {
#pragma unroll
          for (int e = 0; e < 4; e++) s[j][e] = capped(s[j][e] * inner, soft_cap);
        }
      }
#pragma unroll
      for (int j = 0; j < TILE / 8; j++) {
#pragma unroll
        for (int e = 0; e < 2; e++) {
          if (!all_seen) {
            const int key = start + j * 8 + 2 * t + e;
            if (!(MASK(key <= position_a) && MASK(window <= 0 || key > position_a - window))) s[j][e] = -INF;
            if (!(MASK(key <= position_b) && MASK(window <= 0 || key > position_b - window))) s[j][2 + e] = -INF;
          }
          most_a = fmaxf(most_a, s[j][e]);
          most_b = fmaxf(most_b, s[j][2 + e]);
        }
      }
      most_a = fmaxf(largest_a, quad_max(most_a));
      most_b = fmaxf(largest_b, quad_max(most_b));
      // A line that has seen no key yet keeps its zeros. A largest score that stays gives a factor of exactly 1, so that keys which a line does not see
      // leave its bits alone: of products that ptxas may fuse with a difference or not, none is here.
      const float base_a = most_a == -INF ? 0.f : most_a;
      const float base_b = most_b == -INF ? 0.f : most_b;
      const float factor_a = exp2_fast((largest_a - base_a) * outer);
      const float factor_b = exp2_fast((largest_b - base_b) * outer);
      const float outer_a = -(base_a * outer), outer_b = -(base_b * outer);
      largest_a = most_a;
      largest_b = most_b;
      sum_a *= factor_a;
      sum_b *= factor_b;
#pragma unroll
      for (int j = 0; j < D / 8; j++) {
        o[j][0] *= factor_a;
        o[j][1] *= factor_a;
        o[j][2] *= factor_b;
        o[j][3] *= factor_b;
      }
      u32 p[TILE / 8][2];
#pragma unroll
      for (int j = 0; j < TILE / 8; j++) {
        const float a0 = exp2_fast(__fmaf_rn(s[j][0], outer, outer_a)), a1 = exp2_fast(__fmaf_rn(s[j][1], outer, outer_a));
        const float b0 = exp2_fast(__fmaf_rn(s[j][2], outer, outer_b)), b1 = exp2_fast(__fmaf_rn(s[j][3], outer, outer_b));
        sum_a += a0 + a1;
        sum_b += b0 + b1;
        p[j][0] = narrow2(a0, a1);
        p[j][1] = narrow2(b0, b1);
      }
#pragma unroll
      for (int k = 0; k < TILE / 16; k++) {
        const u32 weights[4] = {p[2 * k][0], p[2 * k][1], p[2 * k + 1][0], p[2 * k + 1][1]};
#pragma unroll
        for (int j = 0; j < D / 8; j += 2) {
          u32 r[4];
          ldmatrix_x4_trans(r, values + (k * 16 + (lane & 15)) * STRIDE + j * 8 + (lane >> 4) * 8);
          const u32 b0[2] = {r[0], r[1]};
          const u32 b1[2] = {r[2], r[3]};
          mma16816(o[j], weights, b0);
          mma16816(o[j + 1], weights, b1);
        }
      }
    }
    __syncthreads();
  }

  const float inverse_a = 1.f / quad_sum(sum_a);
  const float inverse_b = 1.f / quad_sum(sum_b);
  float* a = y + (i64)(sequence[0] + row_a) * y_stride + column_a;
  float* b = y + (i64)(sequence[0] + row_b) * y_stride + column_b;
  // Lines beyond the last one repeat it.
  const bool writes_a = first_line + warp * 16 + g <= last_line;
  const bool writes_b = first_line + warp * 16 + g + 8 <= last_line;
#pragma unroll
  for (int j = 0; j < D / 8; j++) {
    if (writes_a) {
      a[8 * j] = o[j][0] * inverse_a;
      a[8 * j + 1] = o[j][1] * inverse_a;
    }
    if (writes_b) {
      b[8 * j] = o[j][2] * inverse_b;
      b[8 * j + 1] = o[j][3] * inverse_b;
    }
  }
}

#define PREFILL(D, TILE, WARPS, BLOCKS) \
  extern "C" __global__ void __launch_bounds__(WARPS * 32, BLOCKS) prefill_attention_##D( \
      const float* __restrict__ q, int q_stride, const bf16* __restrict__ layer, const int* __restrict__ prefilled, int prefilled_count, \
      const int* __restrict__ sequences, const int* __restrict__ blocks, int kv_heads, int heads_per_kv, int block_size, int page_stride, float scale, \
      float soft_cap, int window, float* __restrict__ y, int y_stride) { \
    attend<D, TILE, WARPS>(q, q_stride, layer, prefilled, prefilled_count, sequences, blocks, kv_heads, heads_per_kv, block_size, page_stride, scale, \
                           soft_cap, window, y, y_stride); \
  }

// As many warps as a multiprocessor has registers for: two blocks of six, or one of eight where heads are large, or two of four.
// PrefillAttention.cs knows tile and warps too.
PREFILL(64, 64, 6, 2)
PREFILL(80, 64, 6, 2)
PREFILL(96, 64, 8, 1)
PREFILL(128, 64, 8, 1)
PREFILL(256, 16, 4, 2)
